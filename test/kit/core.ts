// A server inside the test, for the tests of the core: every part real but HTTP, unsealed by a static seal, on storage
// in memory. Requests are sent as any token; the sweep of the background runs when the test says so. Shamir and the
// paths of sys: in-process-server.ts.
import { randomUUID } from "node:crypto";
import { FakeClock, type Millis } from "#common/clock.ts";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { createMetrics } from "#common/metrics.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { type AssembledServer, assemble, type ServerParts } from "#server/assemble.ts";
import { isBarrierKey } from "#server/barrier/barrier-transaction.ts";
import type { Request } from "#server/core/request.ts";
import type { CoreServices } from "#server/core/request-state.ts";
import type { Operation } from "#server/framework/context.ts";
import { HeavyWork } from "#server/framework/heavy-work.ts";
import type { Seal } from "#server/seal/seal.ts";
import { createStaticSeal } from "#server/seal/static/static-seal.ts";
import { openMemoryStorage } from "#server/storage/memory/memory-storage.ts";
import type { Storage } from "#server/storage/storage.ts";

/** Pauses between attempts end at once; longer waits stand until the test moves the time on. */
const PAUSE_MILLIS_MAX = 100;
const MONTH = 2_764_800;
const KEYS_MAX = 100_000;
/** Rounds of the sweep after which a test has gone wrong. */
const ROUNDS_MAX = 1_000;

export class PausingClock extends FakeClock {
  override sleep(ms: Millis, signal?: AbortSignal): Promise<void> {
    if (ms > PAUSE_MILLIS_MAX) return super.sleep(ms, signal);
    return new Promise((resolve) => setImmediate(resolve));
  }

  override after(ms: Millis, wake: () => void): () => void {
    if (ms > PAUSE_MILLIS_MAX) return super.after(ms, wake);
    const soon = setImmediate(wake);
    return () => clearImmediate(soon);
  }
}

export interface Reply {
  readonly status: number;
  /** The whole body as it is sent; "" without one. */
  readonly text: string;
  readonly body: JsonObject;
  /** The envelope's data; {} without. */
  readonly data: JsonObject;
  readonly auth: JsonObject;
  /** The messages of a failure, on a line each. */
  readonly error: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface SendOptions {
  readonly wrapTtlSeconds?: number;
  readonly remoteAddress?: string;
  readonly limit?: number;
  /** By their names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** As in the header X-Vault-Namespace, without slashes around. */
  readonly namespace?: string;
}

export interface Core {
  readonly clock: FakeClock;
  readonly storage: Storage;
  readonly server: AssembledServer;
  readonly services: CoreServices;
  readonly rootToken: string;
  /** Sends a request; `token` "" is none. */
  send(token: string, operation: Operation, path: string, data?: JsonObject, options?: SendOptions): Promise<Reply>;
  /** The same as root, and it must succeed. */
  root(operation: Operation, path: string, data?: JsonObject, options?: SendOptions): Promise<Reply>;
  /** Writes a policy. */
  policy(name: string, text: string): Promise<void>;
  /** A new token's text; `data` as for auth/token/create. */
  token(data?: JsonObject, path?: string): Promise<string>;
  /** Runs the background until nothing can go on. */
  settle(): Promise<void>;
  /** Every stored record by its key, decrypted; plain ones as they are. */
  dump(prefix?: string): Promise<ReadonlyMap<string, string>>;
}

/** A key for tests that open a store again. */
export function testSeal(name = "static", byte = 7): Seal {
  const key = { id: `${name}-key`, key: new SecretBytes(Buffer.alloc(32, byte)) };
  return createStaticSeal(name, [key], { clock: new FakeClock() });
}

/** The parts of a server for tests, for those that bring up their own. */
export function coreParts(parts: Partial<ServerParts> = {}): ServerParts {
  const clock = parts.clock ?? new PausingClock();
  return {
    storage: openMemoryStorage(),
    storageType: "memory",
    seals: [testSeal()],
    retiredSeals: [],
    host: {
      clock,
      log: silentLog,
      environment: {},
      heavy: new HeavyWork(),
      readFile: (path) => Promise.reject(new Error(`there is no file ${path}`)),
    },
    clock,
    log: silentLog,
    metrics: createMetrics(),
    ttl: { defaultLeaseTtlSeconds: MONTH, maxLeaseTtlSeconds: MONTH },
    clusterName: "test",
    version: "1.0.0",
    buildDate: "2026-01-01T00:00:00Z",
    sanitizedConfig: {},
    userLockouts: [],
    ...parts,
  };
}

/** A server that is initialised and unsealed. */
export async function startCore(given: Partial<ServerParts> = {}): Promise<Core> {
  const clock = new PausingClock();
  const parts = coreParts({ clock, ...given });
  const server = assemble(parts);
  const { services } = server;
  let rootToken = "";
  await services.node.initialize({
    ...{ shares: 1, threshold: 1, recoveryShares: 0, recoveryThreshold: 0 },
    fill: async (tx) => {
      await server.initial.write(tx);
      rootToken = await server.initial.writeRootToken(tx);
    },
  });
  const send: Core["send"] = (token, operation, path, data = {}, options = {}) =>
    sendTo(server, requestOf(token, operation, path, data, options));
  const root: Core["root"] = async (operation, path, data, options) => {
    const reply = await send(rootToken, operation, path, data, options);
    if (reply.status >= 300) throw new Error(`${operation} ${path} answered ${reply.status}: ${reply.error}`);
    return reply;
  };
  return {
    ...{ clock, storage: parts.storage, server, services, rootToken, send, root },
    policy: async (name, text) => void (await root("update", `sys/policies/acl/${name}`, { policy: text })),
    token: async (data = {}, path = "auth/token/create") =>
      textOf((await root("update", path, data)).auth, "client_token"),
    settle: () => settle(server),
    dump: (prefix = "") => dump(parts.storage, services, prefix),
  };
}

/** A request as the HTTP edge would make it. */
export function requestOf(
  clientToken: string,
  operation: Operation,
  path: string,
  data: JsonObject,
  options: SendOptions = {},
): Request {
  const isWrite = operation === "update" || operation === "patch" || operation === "create";
  return {
    id: randomUUID(),
    operation,
    path,
    namespace: options.namespace ?? "",
    clientToken,
    data,
    query: isWrite ? {} : data,
    wrapTtlSeconds: options.wrapTtlSeconds,
    remoteAddress: options.remoteAddress ?? "127.0.0.1",
    remotePort: 1,
    page: { limit: options.limit ?? 10_000 },
    ...(options.headers && { headers: options.headers }),
  };
}

/** Sends a request to any assembled server. */
export async function sendTo(server: Pick<AssembledServer, "serve">, request: Request): Promise<Reply> {
  const { status, body: sent, headers = {} } = await server.serve(request);
  const text = typeof sent === "string" ? sent : Buffer.from(sent ?? "").toString("utf8");
  const parsed = text.startsWith("{") ? parseJson(text) : {};
  const body = isJsonObject(parsed) ? parsed : {};
  const errors = body["errors"];
  return {
    ...{ status, text, body, headers },
    data: objectOf(body, "data"),
    auth: objectOf(body, "auth"),
    error: Array.isArray(errors) ? errors.join("\n") : "",
  };
}

/** A member that must be a text. */
export function textOf(object: JsonObject, name: string): string {
  const value = object[name];
  if (typeof value !== "string") throw new Error(`${name} is no text`);
  return value;
}

/** A member that is an object; {} when it is not. */
export function objectOf(object: JsonObject, name: string): JsonObject {
  const value = object[name];
  return isJsonObject(value) ? value : {};
}

async function settle({ background }: AssembledServer): Promise<void> {
  for (let round = 0; round < ROUNDS_MAX; round++) if (!(await background.sweep())) return;
  throw new Error("the background never comes to an end");
}

async function dump(storage: Storage, services: CoreServices, prefix: string): Promise<ReadonlyMap<string, string>> {
  const tx = services.barrier.begin();
  const found = new Map<string, string>();
  for (const key of await storage.scan({ from: prefix, to: `${prefix}\u{10ffff}`, limit: KEYS_MAX })) {
    const value = isBarrierKey(key) ? (await storage.get([key]))[0]?.value : await tx.get(key);
    found.set(key, Buffer.from(value ?? []).toString("utf8"));
  }
  return found;
}
