// The load: workers that each keep one connection open and send the next request when the last one is answered (closed
// loop). Speaks just enough HTTP/1.1 over a bare socket that measuring costs less than what is measured.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { createHistogram } from "node:perf_hooks";
import { systemClock } from "#common/clock.ts";

export interface Target {
  readonly host: string;
  readonly port: number;
  /** Of the server, where it is known. */
  readonly pid: number | undefined;
  /** The whole request for the n-th call, headers and body. */
  request(n: number): Buffer;
}

export interface Measured {
  readonly workers: number;
  readonly requestsPerSecond: number;
  readonly p50Millis: number;
  readonly p99Millis: number;
  /** The server's processor time for one request, which says more than time on a machine that others use too. NaN when it is not known. */
  readonly cpuMicros: number;
}

const HEAD_END = Buffer.from("\r\n\r\n");
/** A server at its first requests is still compiling itself. */
const WARM_UP_FRACTION = 0.3;
const NANOS_PER_MICRO = 1_000;
const MICROS_PER_MILLI = 1_000;
const TICK_MICROS = 10_000;

/** Runs `workers` for `seconds`, after a warm-up of a third of that. Throws at the first answer that is no success. */
export async function measure(target: Target, workers: number, seconds: number): Promise<Measured> {
  await run(target, workers, seconds * WARM_UP_FRACTION);
  const cpuBefore = await cpuMicrosOfServer(target.pid);
  const startedAt = performance.now();
  const micros = await run(target, workers, seconds);
  const elapsed = (performance.now() - startedAt) / 1000;
  const cpu = (await cpuMicrosOfServer(target.pid)) - cpuBefore;
  return {
    workers,
    requestsPerSecond: Math.round(micros.count / elapsed),
    p50Millis: micros.percentile(50) / MICROS_PER_MILLI,
    p99Millis: micros.percentile(99) / MICROS_PER_MILLI,
    cpuMicros: Math.round(cpu / micros.count),
  };
}

/** Of a process and the workers that it has started. */
async function cpuMicrosOfServer(pid: number | undefined): Promise<number> {
  if (pid === undefined) return Number.NaN;
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).split(" ").filter(Boolean);
  const each = await Promise.all([pid, ...children.map(Number)].map(cpuMicrosOf));
  return each.reduce((sum, micros) => sum + micros, 0);
}

/** User and system time of a process so far, as Linux counts it: in ticks of 10 ms. */
export async function cpuMicrosOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The second field, the name, may hold spaces; utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MICROS;
}

async function run(target: Target, workers: number, seconds: number) {
  const histogram = createHistogram();
  const stop = new AbortController();
  const end = systemClock.sleep(seconds * 1000).then(() => stop.abort());
  const numbers = { next: 0 };
  const record = (nanos: bigint) => histogram.record(nanos / BigInt(NANOS_PER_MICRO) || 1n);
  await Promise.all(Array.from({ length: workers }, () => work(target, numbers, record, stop.signal)));
  await end;
  return histogram;
}

async function work(
  target: Target,
  numbers: { next: number },
  record: (nanos: bigint) => void,
  signal: AbortSignal,
): Promise<void> {
  const socket = connect({ host: target.host, port: target.port, noDelay: true });
  await once(socket, "connect");
  try {
    while (!signal.aborted) {
      const request = target.request(numbers.next++);
      const sentAt = process.hrtime.bigint();
      socket.write(request);
      await answer(socket);
      record(process.hrtime.bigint() - sentAt);
    }
  } finally {
    socket.destroy();
  }
}

/** One whole answer. */
function answer(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    const done = (error?: Error) => {
      socket.off("data", take);
      socket.off("close", closed);
      if (error) reject(error);
      else resolve();
    };
    const closed = () => done(new Error("the server closed the connection"));
    const take = (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const end = received.indexOf(HEAD_END);
      if (end < 0) return;
      const head = received.toString("latin1", 0, end);
      if (!head.startsWith("HTTP/1.1 2")) done(new Error(`the server answered ${received.toString("utf8", 0, 500)}`));
      else if (received.length >= end + HEAD_END.length + contentLength(head)) done();
    };
    socket.on("data", take);
    socket.once("close", closed);
  });
}

function contentLength(head: string): number {
  return Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
}

/** The bytes of a request. */
export function requestBytes(method: string, path: string, token: string, body: string): Buffer {
  const length = body === "" ? "" : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
  return Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: bench\r\nX-Vault-Token: ${token}\r\n${length}\r\n${body}`);
}
