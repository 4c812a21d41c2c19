// How passwords are kept: argon2id by node:crypto, off the event loop, as a text `argon2id$<memory KiB>$<passes>$<salt>$
// <hash>` with base64url parts. Of the settings that OWASP's password storage cheat sheet counts as equal, this takes
// the one with the least memory and time (7 MiB, 5 passes): four logins at once in libuv's pool stay below 32 MiB in a
// pod. scrypt at the same strength needs 128 MiB. Hashes that clients bring along are bcrypt and stay so.
import { argon2, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { CofferError } from "#common/errors.ts";
import { assertApproved } from "#common/fips-mode.ts";
import { constantTimeEqual } from "#common/secret-bytes.ts";

/** Longer ones are a mistake or an attempt to keep the server busy. */
export const PASSWORD_BYTES_MAX = 1_024;
/** Each step doubles the time, and bcryptjs works on the event loop: 2^12 is about a quarter second. */
export const BCRYPT_COST_MAX = 12;
const OTHER_LOGIN = "use another auth method than userpass, such as approle or kubernetes";
const MEMORY_KIB = 7_168;
const PASSES = 5;
const SALT_BYTES = 16;
const HASH_BYTES = 32;

const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;
const derive = promisify(argon2);

/** Hashes a new password. Throws `invalid_request` when it is too long. */
export async function hashPassword(password: string): Promise<string> {
  assertLength(password);
  assertApproved("Argon2id, which keeps passwords,", OTHER_LOGIN);
  const salt = randomBytes(SALT_BYTES);
  const hash = await argon2id(password, salt, MEMORY_KIB, PASSES);
  return ["argon2id", MEMORY_KIB, PASSES, salt.toString("base64url"), hash.toString("base64url")].join("$");
}

/** Checks a hash that a client brings along; throws `invalid_request` unless it is bcrypt of a bearable cost. */
export function acceptHash(hash: string): string {
  assertApproved("bcrypt", OTHER_LOGIN);
  const cost = BCRYPT.exec(hash)?.[1];
  if (cost === undefined) throw new CofferError("invalid_request", "password_hash must be a bcrypt hash");
  if (Number(cost) > BCRYPT_COST_MAX)
    throw new CofferError("invalid_request", `the cost of password_hash must be at most ${BCRYPT_COST_MAX}`);
  return hash;
}

/** Whether a password is the one of a stored hash. Without a hash it takes as long and says no. */
export async function verifyPassword(password: string, stored: string | undefined): Promise<boolean> {
  assertLength(password);
  const isBcrypt = stored?.startsWith("$2") ?? false;
  assertApproved(isBcrypt ? "bcrypt" : "Argon2id, which keeps passwords,", OTHER_LOGIN);
  if (stored !== undefined && isBcrypt) {
    const { compare } = await import("bcryptjs");
    return compare(password, stored);
  }
  const [, memory, passes, salt, hash] = (stored ?? nobodysHash()).split("$");
  const expected = Buffer.from(hash ?? "", "base64url");
  const actual = await argon2id(password, Buffer.from(salt ?? "", "base64url"), Number(memory), Number(passes));
  return constantTimeEqual(actual, expected) && stored !== undefined;
}

/** Stands in for the hash of a user that is not there, so that logins do not tell who is. */
function nobodysHash(): string {
  const zeros = (bytes: number) => Buffer.alloc(bytes).toString("base64url");
  return ["argon2id", MEMORY_KIB, PASSES, zeros(SALT_BYTES), zeros(HASH_BYTES)].join("$");
}

function argon2id(password: string, nonce: Buffer, memory: number, passes: number): Promise<Buffer> {
  const message = Buffer.from(password, "utf8");
  return derive("argon2id", { message, nonce, parallelism: 1, tagLength: HASH_BYTES, memory, passes });
}

function assertLength(password: string): void {
  if (Buffer.byteLength(password) > PASSWORD_BYTES_MAX)
    throw new CofferError("invalid_request", `password is longer than ${PASSWORD_BYTES_MAX} bytes`);
}
