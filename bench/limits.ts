// The limits that figures stand beside: a server of node:http that does nothing, one that does what an audited read
// cannot be without, and the storage without a server: commits of the same bytes, so many at once.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { createHistogram } from "node:perf_hooks";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { requireStorageKind } from "#server/storage/registry.ts";
import { type Measured, requestBytes, type Target } from "./load.ts";

/** The sizes of what a write of a KV v2 secret of 64 bytes commits: its settings and versions, and the secret. */
const COMMITTED_BYTES = [700, 120] as const;
const KEYS = 1_000;
const WARM_UP_FRACTION = 0.3;
const NANOS_PER_MILLI = 1e6;

export interface BareResponder extends Disposable {
  readonly GET: Target;
  readonly POST: Target;
}

export async function startResponder(): Promise<BareResponder> {
  const { child, ...place } = await startProgram("responder.ts");
  const read = requestBytes("GET", "/v1/bench", "token", "");
  const write = requestBytes("POST", "/v1/bench", "token", JSON.stringify({ data: { password: "x".repeat(64) } }));
  return {
    GET: { ...place, request: () => read },
    POST: { ...place, request: () => write },
    [Symbol.dispose]: () => void child.kill(),
  };
}

/** What an audited read of a secret in LMDB cannot be without. */
export async function startNecessaryRead(): Promise<Target & Disposable> {
  const { child, ...place } = await startProgram("necessary-read.ts");
  const read = requestBytes("GET", "/v1/bench-v2/data/k1", "hvs.AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "");
  return { ...place, request: () => read, [Symbol.dispose]: () => void child.kill() };
}

async function startProgram(file: string) {
  const child = spawn(process.execPath, [join(import.meta.dirname, file)], { stdio: ["ignore", "pipe", "inherit"] });
  return { child, host: "127.0.0.1", port: await portOf(child), pid: child.pid };
}

async function portOf(child: ChildProcess): Promise<number> {
  if (!child.stdout) throw new Error("the responder has no output to read");
  const [chunk] = await once(child.stdout, "data");
  const port = /listening (\d+)/.exec(String(chunk))?.[1];
  if (port === undefined) throw new Error(`the responder said ${String(chunk)}`);
  return Number(port);
}

export interface RawStorage extends AsyncDisposable {
  /** Commits of two records, `workers` at once. */
  measure(workers: number, seconds: number): Promise<Measured>;
}

/** A store of its own. Undefined when what the storage needs is not installed. */
export async function openRawStorage(type: string): Promise<RawStorage | undefined> {
  const kind = requireStorageKind(type);
  const fixture = await kind.startFixture();
  if (!fixture) return undefined;
  const storage = await kind.open(fixture.config, { log: silentLog, clock: systemClock, environment: {} });
  const commit = async (n: number) => {
    const values = COMMITTED_BYTES.map((bytes, i) => [`raw/${(n * 7919) % KEYS}/${i}`, randomBytes(bytes)] as const);
    await storage.commit({ expected: new Map(), writes: new Map(values) });
  };
  return {
    measure: async (workers, seconds) => {
      await commitFor(commit, workers, seconds * WARM_UP_FRACTION);
      return commitFor(commit, workers, seconds);
    },
    [Symbol.asyncDispose]: async () => {
      await storage.close();
      await fixture.stop();
    },
  };
}

async function commitFor(commit: (n: number) => Promise<void>, workers: number, seconds: number): Promise<Measured> {
  const histogram = createHistogram();
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const end = startedAt + seconds * 1000;
  let n = 0;
  const work = async () => {
    while (performance.now() < end) {
      const sentAt = process.hrtime.bigint();
      await commit(n++);
      histogram.record(process.hrtime.bigint() - sentAt);
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    workers,
    requestsPerSecond: Math.round((histogram.count * 1000) / (performance.now() - startedAt)),
    p50Millis: histogram.percentile(50) / NANOS_PER_MILLI,
    p99Millis: histogram.percentile(99) / NANOS_PER_MILLI,
    cpuMicros: Math.round((user + system) / histogram.count),
  };
}
