// `npm run bench:growth`: how a read's latency and the server's memory grow with what a store holds (secrets, leases,
// mounts), with the policies of the token that asks, and with the connections that are open. One series for each, the
// rest small; what is not flat or logarithmic is a fault. Stores are made by the API (large-store.ts).
//   -seconds=3   of each measurement   -most=1000000   secrets of the largest store (leases and mounts in proportion)
//   -write       keeps figures and picture in docs/performance/growth.json and .svg
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { isJsonObject } from "#common/json.ts";
import type { RunningServer } from "#test/kit/server.ts";
import { untilUnsealed } from "#test/kit/server.ts";
import { measure, requestBytes, type Target } from "../load.ts";
import { drawGrowth } from "./growth-chart.ts";
import { FOLDER_SIZE, makeLargeStore, type StoreSize, secretPath } from "./large-store.ts";
import { call, privateMemoryMiB, readTarget, type Store, startOn, targetOf } from "./measurements.ts";

export interface Point {
  readonly count: number;
  readonly p50Millis: number;
  readonly p99Millis: number;
  readonly cpuMicros: number;
  /** Of its own, after the load. */
  readonly memoryMiB: number;
}

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

const CLIENTS = 10;
const POLICIES = [1, 10, 100, 1_000];
const CONNECTIONS = [1, 10, 100, 1_000, 2_000];
const SMALL: StoreSize = { secrets: FOLDER_SIZE, tokens: 0, mounts: 0, namespaces: 0 };
const DAY_SECONDS = 24 * 3600;

const options = parseArguments(process.argv.slice(2));
await using ends = new AsyncDisposableStack();
const folder = await mkdtemp(join(tmpdir(), "coffer-growth-"));
ends.defer(() => rm(folder, { recursive: true, force: true }));
const identity = { key: randomBytes(32), rootToken: `root-${randomBytes(8).toString("hex")}` };

const small = await make("small", SMALL);
const all: Series[] = [
  await byStore("secrets", upTo(options.most), (secrets) => ({ ...SMALL, secrets })),
  await byStore("leases", upTo(options.most / 10), (tokens) => ({ ...SMALL, tokens })),
  await byStore("mounts", upTo(options.most / 100, 10), (mounts) => ({ ...SMALL, mounts })),
  await byPolicies(small),
  await byConnections(small),
];
for (const { name, points } of all) {
  console.log(name);
  for (const { count, p50Millis, p99Millis, cpuMicros, memoryMiB } of points)
    console.log(
      `  ${String(count).padStart(8)}  p50 ${p50Millis.toFixed(2)} ms  p99 ${p99Millis.toFixed(2)} ms  ${cpuMicros} us  ${memoryMiB} MiB`,
    );
}
if (options.write) await keep();

/** 1,000, 10,000 … up to the most. */
function upTo(most: number, least = 1_000): readonly number[] {
  const counts: number[] = [];
  for (let count = least; count <= most; count *= 10) counts.push(count);
  return counts;
}

async function make(name: string, size: StoreSize): Promise<Store> {
  const store = { folder: join(folder, name), ...identity };
  const progress = (line: string) => console.error(`${name}: ${line}`);
  await makeLargeStore({ ...store, size, tokenTtlSeconds: DAY_SECONDS, agoMillis: 0, progress });
  return store;
}

async function byStore(name: string, counts: readonly number[], sizeOf: (count: number) => StoreSize): Promise<Series> {
  const points: Point[] = [];
  for (const count of counts) {
    const size = sizeOf(count);
    const store = await make(`${name}-${count}`, size);
    points.push(await on(store, (server) => pointOf(count, server, readTarget(server, store, size.secrets), CLIENTS)));
    await rm(store.folder, { recursive: true, force: true });
  }
  return { name, points };
}

async function byPolicies(store: Store): Promise<Series> {
  const points = await on(store, async (server) => {
    const measured: Point[] = [];
    for (const count of POLICIES) {
      const token = await tokenWith(server, store, count);
      const path = (n: number) => `/v1/secret/data/${secretPath(n % SMALL.secrets)}`;
      const target = targetOf(server, (n) => requestBytes("GET", path(n), token, ""));
      measured.push(await pointOf(count, server, target, CLIENTS));
    }
    return measured;
  });
  return { name: "policies of the token", points };
}

async function tokenWith(server: RunningServer, store: Store, count: number): Promise<string> {
  const names = Array.from({ length: count }, (_, n) => `growth-${n}`);
  for (const [n, name] of names.entries()) {
    const rule = `path "secret/data/app/*" { capabilities = ["read"] }\npath "other/${n}/*" { capabilities = ["list"] }`;
    await call(server, store, "PUT", `sys/policies/acl/${name}`, { policy: rule });
  }
  const answer = await call(server, store, "POST", "auth/token/create", { policies: names, ttl: "1h" });
  const auth = isJsonObject(answer) ? answer["auth"] : undefined;
  const token = isJsonObject(auth) ? auth["client_token"] : undefined;
  if (typeof token !== "string") throw new Error("the answer to auth/token/create has no token");
  return token;
}

async function byConnections(store: Store): Promise<Series> {
  const points = await on(store, async (server) => {
    const measured: Point[] = [];
    for (const count of CONNECTIONS)
      measured.push(await pointOf(count, server, readTarget(server, store, SMALL.secrets), count));
    return measured;
  });
  return { name: "connections at once", points };
}

async function pointOf(count: number, server: RunningServer, target: Target, clients: number): Promise<Point> {
  const { p50Millis, p99Millis, cpuMicros } = await measure(target, clients, options.seconds);
  return { count, p50Millis, p99Millis, cpuMicros, memoryMiB: await privateMemoryMiB(server.pid) };
}

async function on<T>(store: Store, work: (server: RunningServer) => Promise<T>): Promise<T> {
  const server = await startOn(store);
  try {
    await untilUnsealed(server);
    return await work(server);
  } finally {
    await server.stop();
  }
}

async function keep(): Promise<void> {
  const machine = { node: process.version, cpu: cpus()[0]?.model ?? "", cores: availableParallelism() };
  const place = join(import.meta.dirname, "../../docs/performance");
  const document = { machine, seconds: options.seconds, clients: CLIENTS, series: all };
  await writeFile(join(place, "growth.json"), `${JSON.stringify(document, null, 2)}\n`);
  await writeFile(join(place, "growth.svg"), drawGrowth(all));
}

function parseArguments(argv: readonly string[]) {
  const given = { seconds: 3, most: 1_000_000, write: false };
  for (const word of argv) {
    const [, name, value] = /^--?(seconds|most)=(\d+(?:\.\d+)?)$/.exec(word) ?? [];
    if (name !== undefined) Object.assign(given, { [name]: Number(value) });
    else if (/^--?write$/.test(word)) given.write = true;
    else throw new Error(`cannot use ${word}; there are -seconds=N, -most=N and -write`);
  }
  return given;
}
