// `npm run bench:start`: how long the bundled server takes from the start of its process until it listens and until it
// is unsealed (static seal, LMDB, a store that is there), with and without Node's compile cache, in turns; and how much
// of the files in a bundle it loads is compiled anew each time, which is what the cache saves.
//   -rounds=9
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "#common/clock.ts";
import { writeConfig } from "#test/kit/server.ts";
import { cpuMicrosOf } from "./load.ts";

const REPOSITORY = join(import.meta.dirname, "..");
const ADDRESS = /address"?[=:]"(https?:\/\/[^"]+)"/;
const POLL_MILLIS = 2;
const DEADLINE_MILLIS = 30_000;
const FLAGS = ["--disable-warning=ExperimentalWarning"];

interface Start {
  readonly listeningMillis: number;
  readonly unsealedMillis: number;
  /** Processor time until then. */
  readonly cpuMillis: number;
  readonly residentMiB: number;
}
type Figure = keyof Start;

const rounds = roundsOf(process.argv.slice(2));
const folder = await mkdtemp(join(tmpdir(), "coffer-bench-"));
try {
  const program = await bundled();
  const seal = { static: { current_key: randomBytes(32).toString("base64"), current_key_id: "one" } };
  const mount = { operation: "update", path: "sys/mounts/secret", data: { type: "kv" } };
  const config = await writeConfig(folder, { seal, bootstrap: { request: { kv: mount } } });
  const cached = { NODE_COMPILE_CACHE: join(folder, "cache") };
  await startOnce(program, config, cached); // makes the store and fills the cache
  const plain: Start[] = [];
  const warm: Start[] = [];
  for (let round = 0; round < rounds; round++) {
    plain.push(await startOnce(program, config, {}));
    warm.push(await startOnce(program, config, cached));
  }
  console.log(`medians of ${rounds} starts in turns     without  with compile cache`);
  row("listening, ms", "listeningMillis", plain, warm);
  row("unsealed, ms", "unsealedMillis", plain, warm);
  row("processor time, ms", "cpuMillis", plain, warm);
  row("resident, MiB", "residentMiB", plain, warm);
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function bundled(): Promise<string> {
  const out = join(folder, "app");
  const script = join(REPOSITORY, "tools/image/bundle.ts");
  await promisify(execFile)(process.execPath, [...FLAGS, script, "--entry", "src/cli/main.ts", "--out", out]);
  return join(out, "coffer.js");
}

async function startOnce(program: string, config: string, environment: NodeJS.ProcessEnv): Promise<Start> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [...FLAGS, program, "server", `-config=${config}`], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
  const ended = once(child, "exit");
  try {
    const { promise: listening, resolve } = Promise.withResolvers<string>();
    let output = "";
    const take = (chunk: Buffer) => {
      output += chunk.toString("utf8");
      const address = ADDRESS.exec(output)?.[1];
      if (address !== undefined) resolve(address);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    const address = await Promise.race([listening, ended.then(() => undefined)]);
    if (address === undefined) throw new Error(`the server did not start:\n${output}`);
    const listeningMillis = performance.now() - startedAt;
    await untilHealthy(address);
    const unsealedMillis = performance.now() - startedAt;
    return { listeningMillis, unsealedMillis, ...(await usageOf(child.pid ?? 0)) };
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

async function untilHealthy(address: string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MILLIS;
  for (;;) {
    const response = await fetch(`${address}/v1/sys/health`);
    await response.arrayBuffer();
    if (response.status === 200) return;
    if (performance.now() > deadline) throw new Error("the server stays sealed");
    await systemClock.sleep(POLL_MILLIS);
  }
}

async function usageOf(pid: number): Promise<Pick<Start, "cpuMillis" | "residentMiB">> {
  const resident = /VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1];
  return {
    cpuMillis: (await cpuMicrosOf(pid)) / 1000,
    residentMiB: Math.round(Number(resident) / 1024),
  };
}

function row(name: string, figure: Figure, plain: readonly Start[], warm: readonly Start[]): void {
  const [without, withCache] = [plain, warm].map((starts) => Math.round(median(starts.map((each) => each[figure]))));
  console.log(`${name.padEnd(33)} ${String(without).padStart(10)} ${String(withCache).padStart(19)}`);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function roundsOf(argv: readonly string[]): number {
  const [word = "-rounds=9", ...rest] = argv;
  const count = Number(/^--?rounds=(\d+)$/.exec(word)?.[1]);
  if (!(count > 0) || rest.length > 0) throw new Error(`cannot use ${argv.join(" ")}; there is -rounds=N`);
  return count;
}
