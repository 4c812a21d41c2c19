// Public keys of people that keys are to be encrypted to, from the files that gpg --export wrote.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import type { CliIo } from "./cli-io.ts";

/**
 * The keys in comma-separated files, each binary, base64 or armoured, as the API takes them. A leading `@` of a file's
 * name is ignored, as in Vault. Throws `invalid_request` for a file that cannot be read.
 */
export function readPgpKeys(files: string, io: CliIo): Promise<readonly string[]> {
  return Promise.all(files.split(",").map((file) => readPgpKey(file.trim(), io)));
}

async function readPgpKey(file: string, io: CliIo): Promise<string> {
  if (file.startsWith("keybase:"))
    throw new CofferError("invalid_request", `${file}: export the key to a file; nothing is fetched from Keybase`);
  try {
    const bytes = await readFile(resolve(io.cwd, file.replace(/^@/, "")));
    const text = bytes.toString("latin1").trim();
    return text.startsWith("-----BEGIN PGP") || /^[A-Za-z0-9+/\s]+={0,2}$/.test(text) ? text : bytes.toString("base64");
  } catch (cause) {
    throw new CofferError("invalid_request", `the PGP key cannot be read: ${messageOf(cause)}`, { cause });
  }
}
