// `npm run bench:workers`: what a second worker process brings, as a ratio. Servers of one and of two workers are measured
// in turns in one run, so that whatever else the machine does meets both; the median of each is told with all values.
//   -seconds=3   of each measurement         -rounds=5         -connections=10
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#common/clock.ts";
import { type ShamirServer, startShamirServer } from "#test/kit/server.ts";
import { type Measured, measure, requestBytes } from "./load.ts";

const KEYS = 1_000;
const SECRET = { password: "x".repeat(64) };
const COUNTS = [1, 2] as const;

const options = parseArguments(process.argv.slice(2));
await using ends = new AsyncDisposableStack();
const folder = await mkdtemp(join(tmpdir(), "coffer-bench-"));
ends.defer(() => rm(folder, { recursive: true, force: true }));
const servers = new Map<number, ShamirServer>();
for (const workers of COUNTS) {
  const server = await startShamirServer({ workers });
  ends.defer(() => server.stop());
  servers.set(workers, server);
  await prepare(server, join(folder, `audit-${workers}.log`));
}
await compare("KV v2 read", "GET", "");
await compare("KV v2 write", "POST", JSON.stringify({ data: SECRET }));
for (const server of servers.values())
  await post(server, "sys/quotas/rate-limit/all", { rate: 1_000_000, interval: "1s" });
await compare("KV v2 read under a rate limit", "GET", "");

interface Options {
  readonly seconds: number;
  readonly rounds: number;
  readonly connections: number;
}

function parseArguments(argv: readonly string[]): Options {
  const given = { seconds: 3, rounds: 5, connections: 10 };
  for (const word of argv) {
    const [, name, value] = /^--?(seconds|rounds|connections)=(\d+)$/.exec(word) ?? [];
    if (name === undefined) throw new Error(`unknown argument ${word}; there are -seconds, -rounds and -connections`);
    Object.assign(given, { [name]: Number(value) });
  }
  return given;
}

async function prepare(server: ShamirServer, audit: string): Promise<void> {
  await post(server, "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await post(server, "sys/audit/file", { type: "file", options: { file_path: audit } });
  for (let n = 0; n < KEYS; n++) await post(server, `secret/data/app/k${n}`, { data: SECRET });
  // The other workers start when the first one is ready.
  await systemClock.sleep(1_000);
}

async function post({ address, rootToken }: ShamirServer, path: string, body: object): Promise<void> {
  const headers = { "X-Vault-Token": rootToken };
  const response = await fetch(`${address}/v1/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path} answered ${response.status} ${await response.text()}`);
  await response.arrayBuffer();
}

async function compare(name: string, method: string, body: string): Promise<void> {
  const measured = new Map<number, Measured[]>(COUNTS.map((count) => [count, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const [count, { address, rootToken, pid }] of servers) {
      const { hostname, port } = new URL(address);
      const request = (n: number) => requestBytes(method, `/v1/secret/data/app/k${(n * 7919) % KEYS}`, rootToken, body);
      const target = { host: hostname, port: Number(port), pid, request };
      measured.get(count)?.push(await measure(target, options.connections, options.seconds));
    }
  }
  console.log(name);
  for (const [count, all] of measured) {
    const each = all.map(({ requestsPerSecond }) => requestsPerSecond).join(" ");
    const [rate, cpu, p99] = [median(all, "requestsPerSecond"), median(all, "cpuMicros"), median(all, "p99Millis")];
    console.log(`  ${count} worker(s): ${rate}/s, ${cpu} µs of processor, p99 ${p99.toFixed(1)} ms  (${each})`);
  }
  const [one = [], two = []] = measured.values();
  console.log(`  ratio ${(median(two, "requestsPerSecond") / median(one, "requestsPerSecond")).toFixed(2)}`);
}

function median(all: readonly Measured[], member: "requestsPerSecond" | "cpuMicros" | "p99Millis"): number {
  return all.map((each) => each[member]).toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN;
}
