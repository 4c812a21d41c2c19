// Virtual environments of Python for tests: each is made once in a cache directory that test runs share, filled from
// PyPI, and used by its path. What runs in them is the test's business.
import { execFile } from "node:child_process";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** Making it and filling it: for moto 300 MB, 40 s on a small machine. Together with a start within a hook's 180 s. */
const VENV_MILLIS_MAX = 40_000;
const INSTALL_MILLIS_MAX = 110_000;
const run = promisify(execFile);

export interface PythonPackage {
  /** Names the environment, such as "moto". */
  readonly name: string;
  readonly version: string;
  /** What pip installs, with versions: "moto[server]==5.2.5". */
  readonly requirements: readonly string[];
}

/** Where tests keep what they install and build, for all runs on this machine. */
export function testCache(environment: NodeJS.ProcessEnv): string {
  return join(environment["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "coffer-test");
}

/**
 * The environment's Python. Built beside its place and marked when whole, so that an interrupted install is redone.
 * Fails when there is no python3 with venv, or PyPI does not answer.
 */
export async function pythonWith(wanted: PythonPackage, environment: NodeJS.ProcessEnv): Promise<string> {
  const cache = testCache(environment);
  const folder = join(cache, `${wanted.name}-${wanted.version}`);
  const python = join(folder, "bin", "python3");
  const marker = join(folder, "complete");
  if (await exists(marker)) return python;
  await mkdir(cache, { recursive: true });
  await rm(folder, { recursive: true, force: true });
  await run("python3", ["-m", "venv", folder], { timeout: VENV_MILLIS_MAX });
  await run(python, ["-m", "pip", "install", "--quiet", ...wanted.requirements], { timeout: INSTALL_MILLIS_MAX });
  await mkdir(`${marker}.new`);
  await rename(`${marker}.new`, marker);
  return python;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
