// Starts real server processes from the sources for tests: on port 0, with a configuration of the test's own, and ends
// them whatever happens. Knows the program's command line and log, nothing of what is inside.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";

const PROGRAM = join(import.meta.dirname, "../../src/cli/main.ts");
/** A start takes about a second; a machine that runs all tests at once may take much longer. */
const START_MILLIS_MAX = 60_000;
const POLL_MILLIS = 20;
/** What is kept of a server's output, for the message when something goes wrong. */
const OUTPUT_CHARACTERS_MAX = 64 * 1024;

export interface RunningServer {
  /** Such as http://127.0.0.1:40123. */
  readonly address: string;
  readonly pid: number;
  /** Standard output and standard error so far, the newest part. */
  output(): string;
  /** Asks it to end, waits, and removes the folder that was made for it. */
  stop(): Promise<void>;
  /** Ends it as a power failure would (SIGKILL); its data stays. */
  kill9(): Promise<void>;
  /** Sends SIGSTOP, SIGCONT; does nothing when it has ended. */
  signal(name: "SIGSTOP" | "SIGCONT"): void;
}

export interface OpenServer extends RunningServer {
  readonly rootToken: string;
}

export interface ShamirServer extends OpenServer {
  /** The one share of one, base64. */
  readonly unsealKey: string;
}

/** Runs `coffer server` with these arguments and waits for its address. */
export function startServer(argv: readonly string[], nodeFlags: readonly string[] = []): Promise<RunningServer> {
  return startProgram([...nodeFlags, PROGRAM, "server", ...argv]);
}

/** Runs a program of a test's own that is a server and says so in its log. */
export async function startProgram(argv: readonly string[]): Promise<RunningServer> {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", ...argv], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = collect(child);
  const end = () => child.kill("SIGKILL");
  process.once("exit", end);
  child.once("exit", () => process.removeListener("exit", end));
  const address = await waitFor(child, output, /address"?[=:]"(https?:\/\/[^"]+)"/);
  return {
    address,
    pid: child.pid ?? 0,
    output,
    stop: () => endBy(child, "SIGTERM"),
    kill9: () => endBy(child, "SIGKILL"),
    signal: (name) => void child.kill(name),
  };
}

/** A development server, in memory unless the flags say otherwise; ready to serve. */
export async function startDevelopmentServer(...flags: string[]): Promise<OpenServer> {
  const rootToken = `root-${randomBytes(8).toString("hex")}`;
  const server = await startServer([
    "-dev",
    "-dev-listen-address=127.0.0.1:0",
    `-dev-root-token-id=${rootToken}`,
    ...flags,
  ]);
  await untilUnsealed(server);
  return { ...server, rootToken };
}

/**
 * A server on lmdb in a folder of its own, initialised with one share of one and unsealed. `extra` are further stanzas
 * of the configuration.
 */
export async function startShamirServer(extra: JsonObject = {}, nodeFlags?: readonly string[]): Promise<ShamirServer> {
  const folder = await mkdtemp(join(tmpdir(), "coffer-server-"));
  const server = await startServer([`-config=${await writeConfig(folder, extra)}`], nodeFlags);
  const made = await post(server, "sys/init", { secret_shares: 1, secret_threshold: 1 });
  const unsealKey = firstText(made["keys_base64"]);
  await post(server, "sys/unseal", { key: unsealKey });
  const rootToken = firstText(made["root_token"]);
  const stop = async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  return { ...server, rootToken, unsealKey, stop };
}

/** Writes a configuration for lmdb in the folder and a plain listener on any port; gives the file's name. */
export async function writeConfig(folder: string, extra: JsonObject): Promise<string> {
  const file = join(folder, "server.json");
  const document = {
    storage: { lmdb: { path: join(folder, "data") } },
    listener: { tcp: { address: "127.0.0.1:0", tls_disable: true } },
    // Tests start many servers at once; those of several workers ask for them.
    workers: 1,
    ...extra,
  };
  await writeFile(file, JSON.stringify(document), { mode: 0o600 });
  return file;
}

/** Waits until the server says that it is unsealed. */
export async function untilUnsealed(server: RunningServer): Promise<void> {
  const deadline = systemClock.now() + START_MILLIS_MAX;
  for (;;) {
    const response = await fetch(`${server.address}/v1/sys/health`);
    await response.arrayBuffer();
    if (response.status === 200) return;
    if (systemClock.now() > deadline) throw new Error(`the server stays sealed:\n${server.output()}`);
    await systemClock.sleep(POLL_MILLIS);
  }
}

function collect(child: ChildProcess): () => string {
  let text = "";
  const take = (chunk: Buffer) => {
    text = (text + chunk.toString("utf8")).slice(-OUTPUT_CHARACTERS_MAX);
  };
  child.stdout?.on("data", take);
  child.stderr?.on("data", take);
  return () => text;
}

async function waitFor(child: ChildProcess, output: () => string, pattern: RegExp): Promise<string> {
  const deadline = systemClock.now() + START_MILLIS_MAX;
  for (;;) {
    const found = pattern.exec(output())?.[1];
    if (found !== undefined) return found;
    if (child.exitCode !== null || child.signalCode !== null || systemClock.now() > deadline) {
      await endBy(child, "SIGKILL");
      throw new Error(`the server did not start:\n${output()}`);
    }
    await systemClock.sleep(POLL_MILLIS);
  }
}

async function endBy(child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}

async function post(server: RunningServer, path: string, body: JsonObject): Promise<JsonObject> {
  const response = await fetch(`${server.address}/v1/${path}`, { method: "POST", body: JSON.stringify(body) });
  const text = await response.text();
  const answer = response.ok ? parseJson(text) : undefined;
  if (!isJsonObject(answer)) throw new Error(`${path} answered ${response.status} ${text}\n${server.output()}`);
  return answer;
}

function firstText(value: unknown): string {
  const text: unknown = Array.isArray(value) ? value[0] : value;
  if (typeof text !== "string") throw new Error("the server's answer to sys/init has an unexpected shape");
  return text;
}
