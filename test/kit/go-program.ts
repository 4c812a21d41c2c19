// Programs in Go for tests: built once into the cache that test runs share, under a name that has the hash of their
// sources and of the compiler in it, and run from there.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { access, mkdir, rename } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { testCache } from "./python-environment.ts";

/** Fetching the modules and compiling them and the standard library takes a minute on a small machine. */
const BUILD_MILLIS_MAX = 200_000;
/** Where Go's own installer puts it, for shells without a profile. */
const GO_FOLDER = "/usr/local/go/bin";
const HASH_CHARACTERS = 16;
const run = promisify(execFile);

/**
 * The program's file. `folder` has go.mod, go.sum and the sources; modules come from the proxy that Go is set to. Fails
 * when there is no Go, or a module cannot be had.
 */
export async function buildGoProgram(name: string, folder: string, environment: NodeJS.ProcessEnv): Promise<string> {
  const env = { ...environment, PATH: [environment["PATH"], GO_FOLDER].join(delimiter), CGO_ENABLED: "0" };
  const { stdout: compiler } = await run("go", ["version"], { env });
  const cache = testCache(environment);
  const program = join(cache, `${name}-${hashOf(folder, compiler)}`);
  if (await exists(program)) return program;
  await mkdir(cache, { recursive: true });
  const fresh = `${program}.${process.pid}`;
  await run("go", ["build", "-mod=readonly", "-o", fresh, "."], { cwd: folder, env, timeout: BUILD_MILLIS_MAX });
  await rename(fresh, program);
  return program;
}

function hashOf(folder: string, compiler: string): string {
  const hash = createHash("sha256").update(compiler);
  for (const file of globSync(["*.go", "go.mod", "go.sum"], { cwd: folder }).sort())
    hash.update(`\n${file}\n`).update(readFileSync(join(folder, file)));
  return hash.digest("hex").slice(0, HASH_CHARACTERS);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
