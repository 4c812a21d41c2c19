// moto, an emulator of AWS in Python, as a second opinion beside our own stand-in (aws/). Installed once from PyPI into
// a cache directory, started per test file. It checks neither signatures nor key states.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import { pythonWith } from "./python-environment.ts";

const VERSION = "5.2.5";
/** It takes a second or two. */
const START_MILLIS_MAX = 25_000;
const PACKAGE = { name: "moto", version: VERSION, requirements: [`moto[server]==${VERSION}`] };

export interface Moto {
  readonly endpoint: string;
  close(): Promise<void>;
}

/** Starts moto, or gives the reason why it cannot be had here. */
export async function startMoto(environment: NodeJS.ProcessEnv): Promise<Moto | { readonly unavailable: string }> {
  try {
    return await start(await pythonWith(PACKAGE, environment));
  } catch (error) {
    return { unavailable: `moto ${VERSION} could not be installed and started: ${messageOf(error)}` };
  }
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
