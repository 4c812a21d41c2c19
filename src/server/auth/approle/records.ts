// What AppRole stores. Secret ids are never stored: a record is found by the HMAC of its secret id under a key of the
// mount's own, so the storage's contents do not let anybody log in.
//   salt                          the mount's HMAC key
//   role/<name>                   a role
//   role-id/<sha256 of role id>   which role has that role id
//   secret/<role uid>/<hmac>      a secret id's limits
//   accessor/<role uid>/<accessor>  which secret id has that accessor
//   expiry/<millis>.<role uid>.<hmac>  secret ids in the order in which they end, for tidy
//   removed/<role uid>            a role that is gone and left secret ids behind, for tidy
// A role that is made again under an old name has a new uid, so it does not inherit secret ids.
import { createHash, createHmac, randomBytes } from "node:crypto";
import type { Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { boolean, type Infer, list, map, number, object, optional, string } from "#common/schema.ts";
import { recordKind, type StorageView } from "../../barrier/transaction.ts";
import { tokenParametersSchema } from "../../framework/token-parameters.ts";

const SALT_BYTES = 32;
const SALT_KEY = "salt";
/** What seal wrap covers. */
export const SEAL_WRAPPED = [SALT_KEY, "secret/"];
export const ROLE_FOLDER = "role/";
export const EXPIRY_FOLDER = "expiry/";
export const REMOVED_FOLDER = "removed/";

const saltKind = recordKind("approle salt", object({ key: string }));

const roleSchema = object({
  uid: string,
  roleId: string,
  bindSecretId: boolean,
  secretIdBoundCidrs: list(string),
  secretIdNumUses: number,
  secretIdTtlSeconds: number,
  localSecretIds: boolean,
  token: tokenParametersSchema,
});
export type Role = Infer<typeof roleSchema>;
const roleKind = recordKind("approle role", roleSchema, { cached: true });

const pointerSchema = object({ role: string, uid: string });
const pointerKind = recordKind("approle role id", pointerSchema, { cached: true });

const secretSchema = object({
  accessor: string,
  created: number,
  updated: number,
  expires: optional(number),
  /** Logins left; 0 is without limit. */
  numUses: number,
  ttlSeconds: number,
  metadata: map(string),
  cidrs: list(string),
  tokenBoundCidrs: list(string),
});
export type SecretRecord = Infer<typeof secretSchema>;
const secretKind = recordKind("approle secret id", secretSchema);

const accessorKind = recordKind("approle accessor", object({ secret: string }));
const markKind = recordKind("approle mark", object({}));

export function readRole(storage: StorageView, name: string): Promise<Role | undefined> {
  return storage.read(roleKind, ROLE_FOLDER + name);
}

/** The role; throws `not_found` when there is none. */
export async function requireRole(storage: StorageView, name: string): Promise<Role> {
  const role = await readRole(storage, name);
  if (role === undefined) throw new CofferError("not_found", `role "${name}" does not exist`);
  return role;
}

/** Stores a role and points its role id at it; the role id it had before no longer leads anywhere. */
export async function writeRole(storage: StorageView, name: string, role: Role, before?: Role): Promise<void> {
  if (before !== undefined && before.roleId !== role.roleId) storage.delete(pointerKey(before.roleId));
  const held = await storage.read(pointerKind, pointerKey(role.roleId));
  if (held !== undefined && held.uid !== role.uid)
    throw new CofferError("invalid_request", "role_id is already in use by another role; choose another");
  if (held === undefined) storage.write(pointerKind, pointerKey(role.roleId), { role: name, uid: role.uid });
  storage.write(roleKind, ROLE_FOLDER + name, role);
}

export function deleteRole(storage: StorageView, name: string, role: Role): void {
  storage.delete(ROLE_FOLDER + name);
  storage.delete(pointerKey(role.roleId));
}

/** What a login needs, in two round trips: the role of a role id, and the record of a secret id. */
export async function readForLogin(
  storage: StorageView,
  roleId: string,
  secretId: string,
): Promise<{ name: string; role: Role; hmac: string; secret: SecretRecord | undefined } | undefined> {
  await storage.prefetch([SALT_KEY, pointerKey(roleId)]);
  const hmac = await hmacOf(storage, secretId);
  const pointer = await storage.read(pointerKind, pointerKey(roleId));
  if (pointer === undefined) return undefined;
  await storage.prefetch([ROLE_FOLDER + pointer.role, secretKey(pointer.uid, hmac)]);
  const role = await readRole(storage, pointer.role);
  if (role === undefined || role.uid !== pointer.uid) return undefined;
  return { name: pointer.role, role, hmac, secret: await readSecret(storage, role.uid, hmac) };
}

/** A secret id in the form in which it is stored. Makes the mount's salt when there is none yet. */
export async function hmacOf(storage: StorageView, secretId: string): Promise<string> {
  const salt = (await storage.read(saltKind, SALT_KEY)) ?? makeSalt(storage);
  return createHmac("sha256", Buffer.from(salt.key, "base64")).update(secretId).digest("hex");
}

function makeSalt(storage: StorageView): { key: string } {
  const salt = { key: randomBytes(SALT_BYTES).toString("base64") };
  storage.write(saltKind, SALT_KEY, salt);
  return salt;
}

export function readSecret(storage: StorageView, uid: string, hmac: string): Promise<SecretRecord | undefined> {
  return storage.read(secretKind, secretKey(uid, hmac));
}

/** Stores a new secret id with its accessor and its place in the order of expiry. */
export function addSecret(storage: StorageView, uid: string, hmac: string, secret: SecretRecord): void {
  storage.write(secretKind, secretKey(uid, hmac), secret);
  storage.write(accessorKind, accessorFolder(uid) + secret.accessor, { secret: hmac });
  if (secret.expires !== undefined) storage.write(markKind, expiryKey(secret.expires, uid, hmac), {});
}

export function updateSecret(storage: StorageView, uid: string, hmac: string, secret: SecretRecord): void {
  storage.write(secretKind, secretKey(uid, hmac), secret);
}

export function deleteSecret(storage: StorageView, uid: string, hmac: string, secret: SecretRecord): void {
  storage.delete(secretKey(uid, hmac));
  storage.delete(accessorFolder(uid) + secret.accessor);
  if (secret.expires !== undefined) storage.delete(expiryKey(secret.expires, uid, hmac));
}

export async function secretOfAccessor(
  storage: StorageView,
  uid: string,
  accessor: string,
): Promise<string | undefined> {
  return (await storage.read(accessorKind, accessorFolder(uid) + accessor))?.secret;
}

export function accessorFolder(uid: string): string {
  return `accessor/${uid}/`;
}

export function secretKey(uid: string, hmac: string): string {
  return `secret/${uid}/${hmac}`;
}

/** Digits of a time in a key: enough until the year 33658, and sorting as numbers do. */
const TIME_DIGITS = 15;

function expiryKey(expires: Millis, uid: string, hmac: string): string {
  return `${EXPIRY_FOLDER}${String(expires).padStart(TIME_DIGITS, "0")}.${uid}.${hmac}`;
}

/** The parts of a name below `expiry/`. */
export function parseExpiryName(name: string): { expires: Millis; uid: string; hmac: string } {
  const [expires = "", uid = "", hmac = ""] = name.split(".");
  return { expires: Number(expires), uid, hmac };
}

export function markRemoved(storage: StorageView, uid: string): void {
  storage.write(markKind, REMOVED_FOLDER + uid, {});
}

/** A role id is no secret, but it may be long or have slashes in it. */
function pointerKey(roleId: string): string {
  return `role-id/${createHash("sha256").update(roleId).digest("hex")}`;
}
