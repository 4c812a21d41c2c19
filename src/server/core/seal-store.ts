// What must be readable before the barrier opens: the kind of seal, the wrapped root key, the wrapped recovery key.
// Plain JSON in storage; nothing in it opens anything without a seal.
//
//   core/seal-config   { type, shares, threshold, recoveryShares, recoveryThreshold }
//   core/seal-keys     { root: [WrappedKey], recovery: [WrappedKey] }

import { parseJson } from "#common/json.ts";
import { type Infer, list, number, object, string } from "#common/schema.ts";
import type { PlainWrite } from "../barrier/plain-store.ts";
import { assertWhole, MIGRATION_KEY } from "../storage/migration-record.ts";
import type { Storage } from "../storage/storage.ts";

const configSchema = object({
  /** Type of the first seal at initialisation: "shamir" needs shares of people. */
  type: string,
  shares: number,
  threshold: number,
  recoveryShares: number,
  recoveryThreshold: number,
});
export type SealConfig = Infer<typeof configSchema>;

const wrappedSchema = object({ seal: string, keyId: string, ciphertext: string });
const keysSchema = object({ root: list(wrappedSchema), recovery: list(wrappedSchema) });
export type SealKeys = Infer<typeof keysSchema>;

/** What a wrapped key is for; bound to the ciphertext where the seal can do that. */
export const ROOT_PURPOSE = "root-key";
export const RECOVERY_PURPOSE = "recovery-key";

const CONFIG_KEY = "core/seal-config";
const KEYS_KEY = "core/seal-keys";

export interface StoredSeal {
  readonly config: SealConfig;
  readonly configVersion: bigint;
  readonly keys: SealKeys;
  readonly keysVersion: bigint;
}

/** Undefined: the store is not initialised. Throws `invalid_request` when a migration has not finished filling it. */
export async function readSeal(storage: Storage): Promise<StoredSeal | undefined> {
  const [config, keys, migration] = await storage.get([CONFIG_KEY, KEYS_KEY, MIGRATION_KEY]);
  assertWhole(migration);
  if (!config || !keys) return undefined;
  return {
    config: configSchema.parse(parseJson(Buffer.from(config.value).toString("utf8")), "seal config"),
    configVersion: config.version,
    keys: keysSchema.parse(parseJson(Buffer.from(keys.value).toString("utf8")), "seal keys"),
    keysVersion: keys.version,
  };
}

export function newSealWrites(config: SealConfig, keys: SealKeys): readonly PlainWrite[] {
  return [write(CONFIG_KEY, config, undefined), write(KEYS_KEY, keys, undefined)];
}

export function sealConfigWrite(config: SealConfig, expected: bigint): PlainWrite {
  return write(CONFIG_KEY, config, expected);
}

export function sealKeysWrite(keys: SealKeys, expected: bigint): PlainWrite {
  return write(KEYS_KEY, keys, expected);
}

function write(key: string, value: object, expected: bigint | undefined): PlainWrite {
  return { key, value: Buffer.from(JSON.stringify(value)), expected };
}
