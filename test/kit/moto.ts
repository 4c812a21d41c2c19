// moto, an emulator of AWS in Python, as a second opinion beside our own stand-in (aws/). Installed once from PyPI into
// a cache directory, started per test file. It checks neither signatures nor key states.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";

const VERSION = "5.2.5";
/** Making the environment and filling it: 300 MB, 40 s on a small machine. Together with the start within a hook's 180 s. */
const VENV_MILLIS_MAX = 40_000;
const INSTALL_MILLIS_MAX = 110_000;
/** It takes a second or two. */
const START_MILLIS_MAX = 25_000;
const run = promisify(execFile);

export interface Moto {
  readonly endpoint: string;
  close(): Promise<void>;
}

/** Starts moto, or gives the reason why it cannot be had here. */
export async function startMoto(environment: NodeJS.ProcessEnv): Promise<Moto | { readonly unavailable: string }> {
  const cache = join(environment["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "coffer-test");
  try {
    const folder = await install(cache);
    return await start(join(folder, "bin", "python3"));
  } catch (error) {
    return { unavailable: `moto ${VERSION} could not be installed and started: ${messageOf(error)}` };
  }
}

/** The virtual environment. Built beside its place and marked when whole, so that an interrupted install is redone. */
async function install(cache: string): Promise<string> {
  const folder = join(cache, `moto-${VERSION}`);
  const marker = join(folder, "complete");
  if (await exists(marker)) return folder;
  await mkdir(cache, { recursive: true });
  await rm(folder, { recursive: true, force: true });
  await run("python3", ["-m", "venv", folder], { timeout: VENV_MILLIS_MAX });
  await run(join(folder, "bin", "python3"), ["-m", "pip", "install", "--quiet", `moto[server]==${VERSION}`], {
    timeout: INSTALL_MILLIS_MAX,
  });
  await mkdir(`${marker}.new`);
  await rename(`${marker}.new`, marker);
  return folder;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function start(python: string): Promise<Moto> {
  const port = await freePort();
  const child = spawn(python, ["-m", "moto.server", "-H", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  const failed = once(child, "error");
  const endpoint = `http://127.0.0.1:${port}`;
  const deadline = systemClock.now() + START_MILLIS_MAX;
  while (!(await answers(endpoint))) {
    const [error] = await Promise.race([failed, systemClock.sleep(100).then(() => [undefined])]);
    if (error instanceof Error) throw error;
    if (child.exitCode !== null || systemClock.now() > deadline) {
      await stop(child);
      throw new Error(`it did not answer at ${endpoint}`);
    }
  }
  return { endpoint, close: () => stop(child) };
}

async function answers(endpoint: string): Promise<boolean> {
  return fetch(`${endpoint}/moto-api/`).then(
    async (response) => {
      await response.arrayBuffer();
      return true;
    },
    () => false,
  );
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}
