// Keys for other purposes than values, derived from a keyring's terms by HKDF-SHA-256 (RFC 5869) without salt: the input
// is a random key already. Each purpose is a text of its own, so that no two uses share a key.
import { createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import { KEY_BYTES } from "./envelope.ts";
import type { Keyring } from "./keyring.ts";

export interface DerivedKey {
  readonly term: number;
  readonly key: KeyObject;
}

/** Of the active term without one; undefined for a term that the keyring has not. */
export function deriveKey(keyring: Keyring, purpose: string, term?: number): DerivedKey | undefined {
  const chosen = term ?? keyring.active.term;
  const from = keyring.keyOf(chosen);
  if (from === undefined) return undefined;
  const bytes = Buffer.from(hkdfSync("sha256", from, "", purpose, KEY_BYTES));
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return { term: chosen, key };
}
