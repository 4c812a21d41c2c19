// What must be readable before the barrier opens: the kind of seal, the wrapped root key, the wrapped recovery key.
// Plain JSON in storage; nothing in it opens anything without a seal.
//
//   core/seal-config   { version, type, shares, threshold, recoveryShares, recoveryThreshold, emergencyShares?,
//                        emergencyThreshold? }
//   core/seal-keys     { version, root: [KeyCopy], recovery: [KeyCopy], emergency?: KeyCopy }
//
// A KeyCopy is a WrappedKey (seal/seal.ts) with the time at which it was made (`wrappedAt`, RFC 3339) and how often that
// seal has wrapped this key (`generation`); copies of old do not say these. The version is 1; the first records did not
// say so. A worked example is in seal-store.test.ts.
import type { Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { type Infer, list, number, object, optional, type Schema, string } from "#common/schema.ts";
import type { PlainWrite } from "../barrier/plain-store.ts";
import type { WrappedKey } from "../seal/seal.ts";
import { assertWhole, MIGRATION_KEY } from "../storage/migration-record.ts";
import { assertRestored, RESTORE_KEY } from "../storage/restore-record.ts";
import type { Storage } from "../storage/storage.ts";

const configSchema = object({
  /** Type of the first seal at initialisation: "shamir" needs shares of people. */
  type: string,
  shares: number,
  threshold: number,
  recoveryShares: number,
  recoveryThreshold: number,
  /** Of the emergency set, where there is one. */
  emergencyShares: optional(number),
  emergencyThreshold: optional(number),
});
type SealConfigFields = Infer<typeof configSchema>;
/** Without members that say nothing. */
export type SealConfig = Omit<SealConfigFields, "emergencyShares" | "emergencyThreshold"> & Partial<SealConfigFields>;

const copySchema = object({
  seal: string,
  keyId: string,
  ciphertext: string,
  wrappedAt: optional(string),
  generation: optional(number),
});
/** A key wrapped by a seal, with when and how often. */
export type KeyCopy = Infer<typeof copySchema>;
const keysSchema = object({
  root: list(copySchema),
  recovery: list(copySchema),
  /** The root key for the holders of the emergency set (seal/emergency.ts). */
  emergency: optional(copySchema),
});
export type SealKeys = Omit<Infer<typeof keysSchema>, "emergency"> & Partial<Infer<typeof keysSchema>>;

/** What a wrapped key is for; bound to the ciphertext where the seal can do that. */
export const ROOT_PURPOSE = "root-key";
export const RECOVERY_PURPOSE = "recovery-key";

const VERSION = 1;
const CONFIG_KEY = "core/seal-config";
export const SEAL_KEYS_KEY = "core/seal-keys";

export interface StoredSeal {
  readonly config: SealConfig;
  readonly configVersion: bigint;
  readonly keys: SealKeys;
  readonly keysVersion: bigint;
}

/**
 * Undefined: the store is not initialised. Throws `invalid_request` when a migration has not finished filling it. Throws
 * `unavailable` while a snapshot is being restored to it.
 */
export async function readSeal(storage: Storage): Promise<StoredSeal | undefined> {
  const [config, keys, migration, restore] = await storage.get([CONFIG_KEY, SEAL_KEYS_KEY, MIGRATION_KEY, RESTORE_KEY]);
  assertWhole(migration);
  assertRestored(restore);
  if (!config && !keys) return undefined;
  if (!config || !keys) throw missing(config ? SEAL_KEYS_KEY : CONFIG_KEY);
  return {
    config: decode(configSchema, config.value, "seal config"),
    configVersion: config.version,
    keys: decode(keysSchema, keys.value, "seal keys"),
    keysVersion: keys.version,
  };
}

/** One without the other: not a fresh store, and nothing that may be initialised. */
function missing(key: string): CofferError {
  return new CofferError(
    "internal",
    `nothing is stored at path ${key}, and the other half of the seal is; restore a snapshot`,
  );
}

/** New copies as they are stored, in place of those that the same seals have `before`. */
export function datedCopies(made: readonly WrappedKey[], before: readonly KeyCopy[], now: Millis): readonly KeyCopy[] {
  const wrappedAt = new Date(now).toISOString();
  return made.map(({ seal, keyId, ciphertext }) => {
    const generation = (before.find((copy) => copy.seal === seal)?.generation ?? 0) + 1;
    return { seal, keyId, ciphertext, wrappedAt, generation };
  });
}

export function newSealWrites(config: SealConfig, keys: SealKeys): readonly PlainWrite[] {
  return [write(CONFIG_KEY, config, undefined), write(SEAL_KEYS_KEY, keys, undefined)];
}

export function sealConfigWrite(config: SealConfig, expected: bigint): PlainWrite {
  return write(CONFIG_KEY, config, expected);
}

export function sealKeysWrite(keys: SealKeys, expected: bigint): PlainWrite {
  return write(SEAL_KEYS_KEY, keys, expected);
}

function write(key: string, value: object, expected: bigint | undefined): PlainWrite {
  return { key, value: Buffer.from(JSON.stringify({ version: VERSION, ...value })), expected };
}

function decode<T>(schema: Schema<T>, value: Uint8Array, what: string): T {
  const record = parseJson(Buffer.from(value).toString("utf8"));
  const version = isJsonObject(record) ? (record["version"] ?? VERSION) : VERSION;
  if (version === VERSION) return schema.parse(record, what);
  const message = `the ${what} of this store has version ${String(version)}, and this program reads ${VERSION}; use a newer one`;
  throw new CofferError("invalid_request", message);
}

/** The seals' copies of the root key as they are stored. Throws `invalid_request` for what is none. */
export function parseSealKeys(value: Uint8Array): SealKeys {
  return decode(keysSchema, value, "seal keys");
}
