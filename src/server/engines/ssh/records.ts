// What the SSH engine stores:
//   role/<name>      a role
//   zeroaddress      names of the roles that serve every address
//   salt             the mount's HMAC key
//   otp/<hmac>       what a one-time password is good for; the password itself is never stored
import { createHmac, randomBytes } from "node:crypto";
import { type Infer, list, number, object, string } from "#common/schema.ts";
import { recordKind, type StorageView } from "../../barrier/transaction.ts";

const SALT_BYTES = 32;
const SALT_KEY = "salt";
const OTP_FOLDER = "otp/";
const ZERO_ADDRESS_KEY = "zeroaddress";
export const ROLE_FOLDER = "role/";
/** What seal wrap covers. */
export const SEAL_WRAPPED = [SALT_KEY, OTP_FOLDER];

const saltKind = recordKind("ssh salt", object({ key: string }));

const roleSchema = object({
  defaultUser: string,
  /** As it was written: names with commas between them, or "*". */
  allowedUsers: string,
  cidrList: string,
  excludeCidrList: string,
  port: number,
});
export type Role = Infer<typeof roleSchema>;
const roleKind = recordKind("ssh role", roleSchema, { cached: true });

const otpSchema = object({ role: string, username: string, ip: string, expires: number });
export type Otp = Infer<typeof otpSchema>;
const otpKind = recordKind("ssh one-time password", otpSchema);

const zeroAddressKind = recordKind("ssh zero-address roles", object({ roles: list(string) }), { cached: true });

export function readRole(storage: StorageView, name: string): Promise<Role | undefined> {
  return storage.read(roleKind, ROLE_FOLDER + name);
}

export function writeRole(storage: StorageView, name: string, role: Role): void {
  storage.write(roleKind, ROLE_FOLDER + name, role);
}

/** Names of the roles that serve every address. */
export async function readZeroAddressRoles(storage: StorageView): Promise<readonly string[]> {
  return (await storage.read(zeroAddressKind, ZERO_ADDRESS_KEY))?.roles ?? [];
}

export function writeZeroAddressRoles(storage: StorageView, roles: readonly string[]): void {
  if (roles.length === 0) storage.delete(ZERO_ADDRESS_KEY);
  else storage.write(zeroAddressKind, ZERO_ADDRESS_KEY, { roles });
}

/** Stores what a password is good for and answers the handle by which its lease ends it. */
export async function addOtp(storage: StorageView, password: string, otp: Otp): Promise<string> {
  const salt = (await storage.read(saltKind, SALT_KEY)) ?? makeSalt(storage);
  const handle = hmacOf(salt.key, password);
  storage.write(otpKind, OTP_FOLDER + handle, otp);
  return handle;
}

function makeSalt(storage: StorageView): { key: string } {
  const salt = { key: randomBytes(SALT_BYTES).toString("base64") };
  storage.write(saltKind, SALT_KEY, salt);
  return salt;
}

/**
 * What a password is good for, and the end of it: of two that take it at once, one commit fails. Undefined for an
 * unknown password; then nothing is written, because anybody may ask.
 */
export async function takeOtp(storage: StorageView, password: string): Promise<Otp | undefined> {
  const salt = await storage.read(saltKind, SALT_KEY);
  if (!salt) return undefined;
  const handle = hmacOf(salt.key, password);
  const otp = await storage.read(otpKind, OTP_FOLDER + handle);
  if (otp) deleteOtp(storage, handle);
  return otp;
}

/** Ends a password by its handle; one that was used is gone already. */
export function deleteOtp(storage: StorageView, handle: string): void {
  storage.delete(OTP_FOLDER + handle);
}

function hmacOf(key: string, password: string): string {
  return createHmac("sha256", Buffer.from(key, "base64")).update(password).digest("hex");
}
