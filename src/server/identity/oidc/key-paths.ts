// identity/oidc/key: named keys, their settings and rotation.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { PrivilegedContext } from "../../framework/context.ts";
import { field, type Values } from "../../framework/fields.ts";
import { definePrivilegedPath } from "../../framework/path.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { assertUnreferenced, namedPaths } from "./named-records.ts";
import {
  ALGORITHMS,
  type Algorithm,
  assertOidcName,
  clientKind,
  type Folder,
  type Key,
  listNames,
  RECORDS_MAX,
  recordKey,
  roleKind,
} from "./oidc-records.ts";
import { DEFAULT_KEY, deleteKey, newKey, readKey, rotate, withMaterial, writeKey } from "./signing-keys.ts";

/** Each rotation makes a pair of keys; more often than this is no use to anyone. */
export const ROTATION_SECONDS_MIN = 60;
/** A key is believed for at most this many rotations, which bounds the set of public keys. */
const VERIFICATION_PER_ROTATION_MAX = 10;

const keyFields = {
  rotation_period: field.seconds("How often a new pair of keys takes over; a day by default."),
  verification_ttl: field.seconds("How long a pair is believed after it has stopped signing; a day by default."),
  allowed_client_ids: field.list('Roles and clients that may use the key, by client id; "*" is all.'),
  algorithm: field.text("RS256, RS384, RS512, ES256, ES384, ES512 or EdDSA; RS256 by default."),
} as const;

export function keyPaths() {
  return [
    ...namedPaths({
      folder: "key",
      plural: "named keys",
      summary: "A named key, which signs tokens.",
      fields: keyFields,
      builtin: [DEFAULT_KEY],
      exists: async ({ transaction: tx }, name) => (await readKey(tx, name)) !== undefined,
      read: async ({ transaction: tx }, name) => show(await readKey(tx, name)),
      write,
      remove: ({ transaction: tx }, name) => remove(tx, name),
    }),
    definePrivilegedPath("oidc/key/:name/rotate", {
      summary: "Lets a named key's next pair sign.",
      fields: { verification_ttl: field.seconds("How long the pair is believed that signed until now.") },
      operations: {
        update: {
          summary: "Rotate it.",
          handler: (context, values) => rotateNow(context, values.name, values.verification_ttl),
        },
      },
    }),
  ];
}

function show(key: Key | undefined): Reply | undefined {
  return (
    key &&
    dataReply({
      algorithm: key.algorithm,
      allowed_client_ids: key.allowedClientIds,
      rotation_period: key.rotationPeriodSeconds,
      verification_ttl: key.verificationTtlSeconds,
    })
  );
}

type KeyValues = Values<typeof keyFields> & { readonly name: string };

async function write({ transaction: tx, clock }: PrivilegedContext, values: KeyValues): Promise<Reply> {
  assertOidcName("key", values.name);
  const before = await readKey(tx, values.name);
  const base = before ?? newKey(values.name);
  const now = Math.floor(clock.now() / 1000);
  const rotationPeriodSeconds = values.rotation_period ?? base.rotationPeriodSeconds;
  const after: Key = {
    ...base,
    algorithm: values.algorithm === undefined ? base.algorithm : algorithmOf(values.algorithm),
    rotationPeriodSeconds,
    verificationTtlSeconds: values.verification_ttl ?? base.verificationTtlSeconds,
    allowedClientIds: [...new Set(values.allowed_client_ids ?? base.allowedClientIds)],
    rotatesAtSeconds: base.signingKid === "" ? 0 : Math.min(base.rotatesAtSeconds, now + rotationPeriodSeconds),
  };
  assertTimes(after.rotationPeriodSeconds, after.verificationTtlSeconds);
  if (after.verificationTtlSeconds < base.verificationTtlSeconds) await assertLongEnough(tx, after);
  writeKey(tx, after);
  await withMaterial(tx, after, now);
  return noContent;
}

function algorithmOf(name: string): Algorithm {
  const algorithm = ALGORITHMS.find((known) => known === name);
  if (algorithm) return algorithm;
  throw new CofferError(
    "invalid_request",
    `unknown signing algorithm ${JSON.stringify(name)}; use one of ${ALGORITHMS.join(", ")}`,
  );
}

function assertTimes(rotationPeriodSeconds: number, verificationTtlSeconds: number): void {
  if (rotationPeriodSeconds < ROTATION_SECONDS_MIN)
    throw new CofferError("invalid_request", "rotation_period must be at least one minute");
  if (verificationTtlSeconds < 0) throw new CofferError("invalid_request", "verification_ttl must not be negative");
  if (verificationTtlSeconds > VERIFICATION_PER_ROTATION_MAX * rotationPeriodSeconds)
    throw new CofferError("invalid_request", "verification_ttl cannot be longer than 10x rotation_period");
}

/** Tokens must not outlive the belief in what signed them. */
async function assertLongEnough(tx: Transaction, key: Key): Promise<void> {
  const ttls = [
    ...(await usersOf(tx, "role", roleKind, key.name)).map((role) => role.ttlSeconds),
    ...(await usersOf(tx, "client", clientKind, key.name)).map((client) => client.idTokenTtlSeconds),
  ];
  if (ttls.some((ttl) => ttl > key.verificationTtlSeconds))
    throw new CofferError(
      "invalid_request",
      `unable to update key ${JSON.stringify(key.name)} because it is currently referenced by one or more roles with a token ttl greater than ${key.verificationTtlSeconds} seconds`,
    );
}

/** Roles or clients that sign with a key. */
async function usersOf<T extends { readonly key: string; readonly name: string }>(
  tx: Transaction,
  folder: Folder,
  kind: Parameters<typeof tx.read<T>>[0],
  keyName: string,
): Promise<readonly T[]> {
  const names = await listNames(tx, folder, { limit: RECORDS_MAX });
  await tx.prefetch(names.map((name) => recordKey(folder, name)));
  const records = await Promise.all(names.map((name) => tx.read(kind, recordKey(folder, name))));
  return records.filter((record) => record !== undefined).filter((record) => record.key === keyName);
}

async function remove(tx: Transaction, name: string): Promise<Reply> {
  if (name === DEFAULT_KEY) throw new CofferError("invalid_request", `deletion of key "${DEFAULT_KEY}" not allowed`);
  const key = await readKey(tx, name);
  if (!key) return noContent;
  assertUnreferenced("key", name, await usersOf(tx, "role", roleKind, name), "roles");
  assertUnreferenced("key", name, await usersOf(tx, "client", clientKind, name), "clients");
  deleteKey(tx, key);
  return noContent;
}

async function rotateNow(
  { transaction: tx, clock }: PrivilegedContext,
  name: string,
  verificationTtl: number | undefined,
): Promise<Reply> {
  const key = await readKey(tx, name);
  if (!key) throw new CofferError("invalid_request", `no named key found at ${JSON.stringify(name)}`);
  const believed = verificationTtl ?? key.verificationTtlSeconds;
  assertTimes(key.rotationPeriodSeconds, believed);
  await rotate(tx, key, Math.floor(clock.now() / 1000), believed);
  return noContent;
}
