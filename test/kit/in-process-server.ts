// A whole server inside the test: every part real but HTTP, on storage in memory, with a clock that stands still. For
// tests of sys, of Shamir shares and of several nodes. Assembles and sends as core.ts does, and initialises by the API.
import { FakeClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { type AssembledServer, assemble, type ServerParts } from "#server/assemble.ts";
import type { OpenForm, Operation } from "#server/framework/context.ts";
import type { Seal } from "#server/seal/seal.ts";
import { createShamirSeal } from "#server/seal/shamir/shamir-seal.ts";
import { openMemoryStorage } from "#server/storage/memory/memory-storage.ts";
import type { Storage } from "#server/storage/storage.ts";
import { coreParts, requestOf, sendTo } from "./core.ts";

export interface TestAnswer {
  readonly status: number;
  readonly body: JsonObject;
  /** The envelope's data; {} without. */
  readonly data: JsonObject;
  /** The first of `errors`; "" without. */
  readonly error: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface CallOptions {
  /** The root token by default, "" for none. */
  readonly token?: string;
  readonly remoteAddress?: string;
  /** What the listener takes without a token. */
  readonly openForms?: readonly OpenForm[];
}

export interface InProcessServer {
  readonly clock: FakeClock;
  readonly storage: Storage;
  readonly server: AssembledServer;
  readonly rootToken: string;
  /** Shares of the unseal key, base64; of the recovery key with an auto seal. */
  readonly keys: readonly string[];
  call(operation: Operation, path: string, data?: JsonObject, options?: CallOptions): Promise<TestAnswer>;
}

export interface InProcessOptions {
  readonly parts?: Partial<ServerParts>;
  /** Shamir without any. */
  readonly seals?: readonly Seal[];
  readonly shares?: number;
  readonly threshold?: number;
  /** What its listener takes without a token; nothing by default. */
  readonly openForms?: readonly OpenForm[];
  /** Left as a fresh server is, without keys and token. */
  readonly uninitialised?: true;
  /** Another node of this one's store, unsealed by its keys. */
  readonly beside?: InProcessServer;
}

const LIST_LIMIT = 1_000;

/** A server that is initialised and unsealed, unless the options say otherwise. */
export async function startInProcessServer(options: InProcessOptions = {}): Promise<InProcessServer> {
  const { beside } = options;
  const clock = beside?.clock ?? new FakeClock();
  const storage = beside?.storage ?? openMemoryStorage();
  const seals = options.seals ?? [createShamirSeal("shamir")];
  const server = assemble(coreParts({ clock, storage, seals, ...options.parts }));
  const none = { keys: [], rootToken: "" };
  const { keys, rootToken } = options.uninitialised ? none : (beside ?? (await initialize(server, options)));
  for (const key of keys) {
    if (server.services.node.state === "unsealed") break;
    await server.services.node.submitShare(new SecretBytes(Buffer.from(key, "base64")));
  }
  return {
    clock,
    storage,
    server,
    rootToken,
    keys,
    call: (operation, path, data = {}, callOptions = {}) =>
      request(server, operation, path, data, {
        token: rootToken,
        ...(options.openForms && { openForms: options.openForms }),
        ...callOptions,
      }),
  };
}

async function initialize(
  server: AssembledServer,
  options: InProcessOptions,
): Promise<{ keys: readonly string[]; rootToken: string }> {
  const isAuto = options.seals?.[0]?.kind === "auto";
  const [shares, threshold] = [options.shares ?? 1, options.threshold ?? 1];
  const body: JsonObject = isAuto
    ? { recovery_shares: shares, recovery_threshold: threshold }
    : { secret_shares: shares, secret_threshold: threshold };
  const made = (await request(server, "update", "sys/init", body, { token: "" })).body;
  return {
    keys: textsOf(made[isAuto ? "recovery_keys_base64" : "keys_base64"]),
    rootToken: String(made["root_token"]),
  };
}

async function request(
  server: AssembledServer,
  operation: Operation,
  path: string,
  data: JsonObject,
  { token = "", remoteAddress, openForms = [] }: CallOptions,
): Promise<TestAnswer> {
  const options = { limit: LIST_LIMIT, ...(remoteAddress !== undefined && { remoteAddress }) };
  const {
    status,
    body,
    data: shown,
    headers,
  } = await sendTo(server, {
    ...requestOf(token, operation, path, data, options),
    openForms,
  });
  return { status, body, data: shown, error: textsOf(body["errors"])[0] ?? "", headers };
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
