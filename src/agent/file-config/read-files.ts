// The texts of configuration files as they are on the disk at this moment; of a directory its .hcl and .json files.
import { readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import type { NamedText } from "./agent-file.ts";

/** Throws `invalid_request` naming what cannot be read. */
export async function readAgentFiles(names: readonly string[], cwd: string): Promise<readonly NamedText[]> {
  const texts: NamedText[] = [];
  for (const given of names) {
    try {
      const path = resolve(cwd, given);
      const files = (await stat(path)).isDirectory() ? await filesIn(path) : [path];
      for (const name of files) texts.push({ name, text: await readFile(name, "utf8") });
    } catch (cause) {
      throw new CofferError("invalid_request", `cannot read the configuration ${given}: ${messageOf(cause)}`, {
        cause,
      });
    }
  }
  return texts;
}

async function filesIn(directory: string): Promise<readonly string[]> {
  const names = (await readdir(directory)).filter((name) => /\.(hcl|json)$/.test(name)).sort();
  if (names.length === 0) throw new Error("the directory has no .hcl and no .json file");
  return names.map((name) => join(directory, name));
}
