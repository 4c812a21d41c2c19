// A store with as many records as one wishes, made by the API itself: every secret, token, mount and namespace comes from
// a request to a whole server in this process, over LMDB, so that the records are those of a store that has grown. Only
// HTTP is left out. A million secrets take some minutes.
import { join } from "node:path";
import { type Clock, systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { type AssembledServer, assemble } from "#server/assemble.ts";
import { createStaticSeal } from "#server/seal/static/static-seal.ts";
import { findStorageKind } from "#server/storage/registry.ts";
import { coreParts, requestOf, sendTo } from "#test/kit/core.ts";

export interface StoreSize {
  readonly secrets: number;
  /** Each with a lease. */
  readonly tokens: number;
  readonly mounts: number;
  readonly namespaces: number;
}

export interface LargeStoreOptions {
  readonly folder: string;
  /** 32 bytes: the static seal's. */
  readonly key: Buffer;
  readonly rootToken: string;
  readonly size: StoreSize;
  readonly tokenTtlSeconds: number;
  /** When all of it is said to happen; 0 ms is now. Tokens made long enough ago are due as soon as a server starts. */
  readonly agoMillis: number;
  progress(line: string): void;
}

/** As many as one commit to disk takes along. */
const CONCURRENCY = 64;
/** Secrets in one folder, so that listing a folder is what people would do. */
export const FOLDER_SIZE = 1_000;
export const SECRET_DATA = { data: { username: "app", password: "x".repeat(64) } };
const PROGRESS_MILLIS = 10_000;

/** The path of the n-th secret, below `secret/data/`. */
export function secretPath(n: number): string {
  return `app/${Math.floor(n / FOLDER_SIZE)}/k${n}`;
}

/** Makes the store in `folder`/data. Throws at the first request that does not succeed. */
export async function makeLargeStore(options: LargeStoreOptions): Promise<void> {
  const { key, folder, rootToken, size } = options;
  const clock: Clock = { ...systemClock, now: () => systemClock.now() - options.agoMillis };
  const storage = await findStorageKind("lmdb")?.open(
    { path: join(folder, "data") },
    { log: silentLog, clock, environment: {} },
  );
  if (!storage) throw new Error("there is no storage lmdb");
  const seals = [createStaticSeal("static", [{ id: "scale", key: new SecretBytes(Buffer.from(key)) }], { clock })];
  const server = assemble(coreParts({ storage, storageType: "lmdb", seals, clock }));
  await server.services.node.initialize({
    ...{ shares: 1, threshold: 1, recoveryShares: 0, recoveryThreshold: 0 },
    fill: async (tx) => {
      await server.initial.write(tx);
      await server.initial.writeRootToken(tx, rootToken);
    },
  });
  await fill(server, rootToken, size, options);
  server.services.node.stop();
  await storage.close();
}

async function fill(
  server: AssembledServer,
  rootToken: string,
  size: StoreSize,
  { tokenTtlSeconds, progress }: LargeStoreOptions,
): Promise<void> {
  const root = async (path: string, data: JsonObject) => {
    const reply = await sendTo(server, requestOf(rootToken, "update", path, data));
    if (reply.status >= 300) throw new Error(`${path} answered ${reply.status}: ${reply.error}`);
    return reply;
  };
  await root("sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await root("sys/auth/approle", { type: "approle" });
  await root("auth/approle/role/bench", { token_policies: "default", token_ttl: "1h" });
  const kinds: readonly [string, number, (n: number) => Promise<unknown>][] = [
    ["namespaces", size.namespaces, (n) => root(`sys/namespaces/team-${n}`, {})],
    ["mounts", size.mounts, (n) => root(`sys/mounts/engines/m${n}`, { type: "kv" })],
    [
      "tokens",
      size.tokens,
      () => root("auth/token/create-orphan", { policies: ["default"], ttl: `${tokenTtlSeconds}s` }),
    ],
    ["secrets", size.secrets, (n) => root(`secret/data/${secretPath(n)}`, SECRET_DATA)],
  ];
  for (const [name, count, make] of kinds) await makeAll(name, count, make, progress);
}

async function makeAll(
  name: string,
  count: number,
  make: (n: number) => Promise<unknown>,
  progress: (line: string) => void,
): Promise<void> {
  const startedAt = performance.now();
  const numbers = { next: 0 };
  const perSecond = () => Math.round((numbers.next / (performance.now() - startedAt)) * 1000);
  const timer = setInterval(() => progress(`${name}: ${numbers.next} of ${count}, ${perSecond()}/s`), PROGRESS_MILLIS);
  const worker = async () => {
    while (numbers.next < count) await make(numbers.next++);
  };
  try {
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  } finally {
    clearInterval(timer);
  }
  if (count > 0) progress(`${name}: ${count}, ${perSecond()}/s`);
}
