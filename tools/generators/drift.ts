// Compares what the generators make with what is in the repository, and writes it.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { GeneratedFiles } from "./generator.ts";
import { generators } from "./registry.ts";

async function allFiles(): Promise<GeneratedFiles> {
  const made = await Promise.all(generators.map((generator) => generator.files()));
  return new Map(made.flatMap((files) => [...files]));
}

/** Paths, from `root`, of the files that differ from what the generators make. */
export async function driftedFiles(root: string): Promise<readonly string[]> {
  const drifted: string[] = [];
  for (const [path, content] of await allFiles()) {
    const present = await readFile(join(root, path), "utf8").catch(() => undefined);
    if (present !== content) drifted.push(path);
  }
  return drifted;
}

/** Writes the files that differ below `root` and returns their paths. */
export async function writeFiles(root: string): Promise<readonly string[]> {
  const drifted = await driftedFiles(root);
  const files = await allFiles();
  for (const path of drifted) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), files.get(path) ?? "");
  }
  return drifted;
}
