// Authorization codes: for a few minutes, once. Only a hash of a code is stored. Codes that nobody exchanges are removed
// by those who ask for new ones.
import { createHash } from "node:crypto";
import type { Transaction } from "../../barrier/transaction.ts";
import { randomText } from "../../tokens/token-hash.ts";
import { type AuthorizationCode, CODE_EXPIRY_PREFIX, codeKey, codeKind } from "./oidc-records.ts";

/** Between logging in and the client's server asking for the tokens pass seconds. */
export const CODE_SECONDS = 300;
const CODE_LENGTH = 32;
/** Expired codes that one request removes: more than the one it adds, so that they cannot pile up. */
const REMOVED_AT_ONCE = 16;
/** Seconds until the year 33658 have as many digits, so that keys sort by time. */
const SECONDS_DIGITS = 12;

export async function newCode(
  tx: Transaction,
  code: Omit<AuthorizationCode, "expiresAtSeconds">,
  nowSeconds: number,
): Promise<string> {
  await removeExpired(tx, nowSeconds);
  const text = randomText(CODE_LENGTH);
  const record = { ...code, expiresAtSeconds: nowSeconds + CODE_SECONDS };
  tx.write(codeKind, codeKey(hashOf(text)), record);
  tx.put(expiryKey(record.expiresAtSeconds, hashOf(text)), new Uint8Array());
  return text;
}

/** What a code stands for, which is thereby used up; undefined for one that is unknown, used or too old. */
export async function takeCode(
  tx: Transaction,
  text: string,
  nowSeconds: number,
): Promise<AuthorizationCode | undefined> {
  const hash = hashOf(text);
  const code = await tx.read(codeKind, codeKey(hash));
  if (!code) return undefined;
  tx.delete(codeKey(hash));
  tx.delete(expiryKey(code.expiresAtSeconds, hash));
  return nowSeconds < code.expiresAtSeconds ? code : undefined;
}

async function removeExpired(tx: Transaction, nowSeconds: number): Promise<void> {
  const to = expiryKey(nowSeconds + 1, "");
  for (const key of await tx.scan({ from: CODE_EXPIRY_PREFIX, to, limit: REMOVED_AT_ONCE })) {
    tx.delete(codeKey(key.slice(to.length)));
    tx.delete(key);
  }
}

function expiryKey(atSeconds: number, hash: string): string {
  return `${CODE_EXPIRY_PREFIX}${String(atSeconds).padStart(SECONDS_DIGITS, "0")}/${hash}`;
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
