// Data on a command line: `key=value`, `key=@file`, `key=-` (standard input), and whole JSON objects as `@file` or `-`.
// A leading backslash keeps an `@` or `-` as it is: `key=\@home`.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import type { CliIo } from "./cli-io.ts";

/** The object that the arguments describe; a key given twice becomes a list, as in Vault. Values are strings. */
export async function readKeyValues(args: readonly string[], io: CliIo): Promise<JsonObject> {
  const data = new Map<string, JsonValue>();
  for (const argument of args) {
    const at = argument.indexOf("=");
    if (argument === "-" || (argument.startsWith("@") && at < 0)) {
      const object = parseObject(await readValue(argument, io), argument);
      for (const [key, value] of Object.entries(object)) data.set(key, value);
      continue;
    }
    if (at < 1) throw new CofferError("invalid_request", `"${argument}" is not key=value, @file or -`);
    const key = argument.slice(0, at);
    const value = await readValue(argument.slice(at + 1), io);
    const before = data.get(key);
    data.set(key, before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value]);
  }
  return Object.fromEntries(data);
}

/** A value as it is, or the content of `@file` or standard input (`-`). */
export async function readValue(value: string, io: CliIo): Promise<string> {
  if (value === "-") return (await io.readStdin()).toString("utf8");
  if (value.startsWith("\\@") || value === "\\-") return value.slice(1);
  if (!value.startsWith("@")) return value;
  try {
    return await readFile(resolve(io.cwd, value.slice(1)), "utf8");
  } catch (cause) {
    throw new CofferError("invalid_request", messageOf(cause), { cause });
  }
}

function parseObject(text: string, name: string): JsonObject {
  const value = parseJson(text);
  if (isJsonObject(value)) return value;
  throw new CofferError("invalid_request", `"${name}" must hold one JSON object`);
}
