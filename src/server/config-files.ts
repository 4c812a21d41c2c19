// The configuration's files as they are on the disk at this moment.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import type { ProgramIo } from "#common/program.ts";
import type { ConfigFile } from "./config/server-config.ts";
import type { ServerFlags } from "./flags.ts";

/** Throws `invalid_request` when there are none, or one cannot be read. */
export async function readConfigFiles(
  { configFiles }: Pick<ServerFlags, "configFiles">,
  { cwd }: Pick<ProgramIo, "cwd">,
): Promise<readonly ConfigFile[]> {
  if (configFiles.length === 0)
    throw new CofferError(
      "invalid_request",
      "give a configuration with -config=FILE, or -dev for a development server",
    );
  return Promise.all(configFiles.map(async (name) => ({ name, text: await readText(resolve(cwd, name)) })));
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new CofferError("invalid_request", `cannot read ${file}: ${messageOf(error)}`, { cause: error });
  }
}
