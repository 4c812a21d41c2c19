// What is measured of a store: real server processes over it, alternating between the small and the large one so that
// both see the same machine.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { type RunningServer, startServer, untilUnsealed, writeConfig } from "#test/kit/server.ts";
import { type Measured, measure, requestBytes, type Target } from "../load.ts";
import { secretPath } from "./large-store.ts";

export interface Store {
  readonly folder: string;
  readonly key: Buffer;
  readonly rootToken: string;
}

/** Medians of the rounds for one store. */
export interface StoreFigures {
  /** From the start of the process until it serves. */
  readonly unsealedMillis: number;
  readonly memoryAtStartMiB: number;
  readonly memoryAfterLoadMiB: number;
  readonly read: Measured;
  readonly login: Measured;
}

export interface Comparison {
  readonly empty: StoreFigures;
  readonly large: StoreFigures;
}

export interface Expiry {
  readonly leases: number;
  readonly seconds: number;
  readonly leasesPerSecond: number;
  /** Reads while the leases end, the worst second of them, and afterwards. */
  readonly during: Measured;
  readonly worstP99Millis: number;
  readonly afterwards: Measured;
}

const ROUNDS = 3;
const WORKERS = 10;
const KIB_PER_MIB = 1024;
/** Primes, so that neighbours in time are no neighbours in the store. */
const STRIDE = 7_919;
const EXPIRY_WINDOW_SECONDS = 1;
const EXPIRY_WINDOWS_MAX = 600;

export interface CompareOptions {
  readonly empty: Store;
  readonly large: Store;
  readonly secrets: { readonly empty: number; readonly large: number };
  readonly seconds: number;
}

/** Measures both stores in turns. */
export async function compareStores({ empty, large, secrets, seconds }: CompareOptions): Promise<Comparison> {
  const rounds: Comparison[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push({
      empty: await measureStore(empty, secrets.empty, seconds),
      large: await measureStore(large, secrets.large, seconds),
    });
  }
  return { empty: medianOf(rounds.map((round) => round.empty)), large: medianOf(rounds.map((round) => round.large)) };
}

async function measureStore(store: Store, secrets: number, seconds: number): Promise<StoreFigures> {
  const startedAt = performance.now();
  const server = await startOn(store);
  try {
    await untilUnsealed(server);
    const unsealedMillis = performance.now() - startedAt;
    const memoryAtStartMiB = await privateMemoryMiB(server.pid);
    const read = await measure(readTarget(server, store, secrets), WORKERS, seconds);
    const login = await measure(await loginTarget(server, store), WORKERS, seconds);
    const memoryAfterLoadMiB = await privateMemoryMiB(server.pid);
    return { unsealedMillis, memoryAtStartMiB, memoryAfterLoadMiB, read, login };
  } finally {
    await server.stop();
  }
}

/** Reads, second by second, while all leases of the store end, and as long again afterwards. */
export async function expireAtOnce(store: Store, secrets: number, leases: number): Promise<Expiry> {
  const server = await startOn(store);
  try {
    await untilUnsealed(server);
    const startedAt = performance.now();
    const target = readTarget(server, store, secrets);
    const windows: Measured[] = [];
    while (windows.length < EXPIRY_WINDOWS_MAX && (await hasLeases(server, store)))
      windows.push(await measure(target, WORKERS, EXPIRY_WINDOW_SECONDS));
    const seconds = (performance.now() - startedAt) / 1000;
    const after = [];
    for (let n = 0; n < ROUNDS; n++) after.push(await measure(target, WORKERS, EXPIRY_WINDOW_SECONDS));
    return {
      ...{ leases, seconds, leasesPerSecond: Math.round(leases / seconds) },
      ...{ during: medianMeasured(windows), worstP99Millis: Math.max(...windows.map((window) => window.p99Millis)) },
      afterwards: medianMeasured(after),
    };
  } finally {
    await server.stop();
  }
}

export async function startOn({ folder, key }: Store): Promise<RunningServer> {
  const seal = { static: { current_key: key.toString("base64"), current_key_id: "scale" } };
  return startServer([`-config=${await writeConfig(folder, { seal, workers: 1 })}`]);
}

export function targetOf({ address, pid }: RunningServer, request: Target["request"]): Target {
  const { hostname, port } = new URL(address);
  return { host: hostname, port: Number(port), pid, request };
}

export function readTarget(server: RunningServer, { rootToken }: Store, secrets: number): Target {
  const path = (n: number) => `/v1/secret/data/${secretPath((n * STRIDE) % secrets)}`;
  return targetOf(server, (n) => requestBytes("GET", path(n), rootToken, ""));
}

async function loginTarget(server: RunningServer, store: Store): Promise<Target> {
  const role = "auth/approle/role/bench";
  const roleId = dataOf(await call(server, store, "GET", `${role}/role-id`))["role_id"];
  const secretId = dataOf(await call(server, store, "POST", `${role}/secret-id`))["secret_id"];
  const body = JSON.stringify({ role_id: roleId, secret_id: secretId });
  return targetOf(server, () => requestBytes("POST", "/v1/auth/approle/login", "", body));
}

async function hasLeases(server: RunningServer, store: Store): Promise<boolean> {
  const path = "sys/leases/lookup/auth/token/create-orphan?list=true&limit=1";
  return (await call(server, store, "GET", path)) !== undefined;
}

export async function call(
  { address }: RunningServer,
  { rootToken }: Store,
  method: string,
  path: string,
  body?: object,
) {
  const headers = { "X-Vault-Token": rootToken };
  const response = await fetch(`${address}/v1/${path}`, {
    ...{ method, headers },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (response.status === 404) return undefined;
  if (!response.ok) throw new Error(`${path} answered ${response.status} ${text}`);
  return text === "" ? undefined : parseJson(text);
}

function dataOf(answer: JsonValue | undefined): JsonObject {
  const data = isJsonObject(answer) ? answer["data"] : undefined;
  if (!isJsonObject(data)) throw new Error("an answer without data");
  return data;
}

/** Resident memory that is the process's own: without LMDB's map, which the kernel takes back when it needs to. */
export async function privateMemoryMiB(pid: number): Promise<number> {
  const status = await readFile(join("/proc", String(pid), "status"), "utf8");
  const kib = /^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1];
  return Math.round(Number(kib) / KIB_PER_MIB);
}

function medianOf(all: readonly StoreFigures[]): StoreFigures {
  const of = (pick: (figures: StoreFigures) => number) => median(all.map(pick));
  return {
    unsealedMillis: Math.round(of((figures) => figures.unsealedMillis)),
    memoryAtStartMiB: of((figures) => figures.memoryAtStartMiB),
    memoryAfterLoadMiB: of((figures) => figures.memoryAfterLoadMiB),
    read: medianMeasured(all.map((figures) => figures.read)),
    login: medianMeasured(all.map((figures) => figures.login)),
  };
}

function medianMeasured(all: readonly Measured[]): Measured {
  const of = (pick: (measured: Measured) => number) => median(all.map(pick));
  return {
    workers: WORKERS,
    requestsPerSecond: of((measured) => measured.requestsPerSecond),
    p50Millis: of((measured) => measured.p50Millis),
    p99Millis: of((measured) => measured.p99Millis),
    cpuMicros: of((measured) => measured.cpuMicros),
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}
