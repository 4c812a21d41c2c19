// Whether a snapshot is of this store's keys, and what opens it. The keyring of today opens what an older one wrote, but
// for terms that were retired since: those are in the snapshot's own keyring, which the root key still opens unless that
// was replaced as well. docs/adr/0025-retired-terms.md.
import { CofferError } from "#common/errors.ts";
import type { Barrier } from "../barrier/barrier.ts";
import { deriveKey } from "../barrier/derived-key.ts";
import type { Keyring } from "../barrier/keyring.ts";
import { MAC_PURPOSE } from "./format.ts";
import { isAuthentic } from "./read-snapshot.ts";
import type { Spool } from "./spool.ts";

export class OwnKeys implements Disposable {
  /** The snapshot's keyring, where it takes one to open everything. */
  readonly former: Keyring | undefined;
  constructor(former?: Keyring) {
    this.former = former;
  }
  [Symbol.dispose](): void {
    this.former?.dispose();
  }
}

/** Undefined for a snapshot of other keys, or one that was changed. The caller disposes them. Throws `sealed`. */
export function ownKeys({ checked, terms, keyring }: Spool, barrier: Barrier): OwnKeys | undefined {
  const { term } = checked.sealed;
  const own = barrier.derivedKey(MAC_PURPOSE, term);
  if (own && hasAll(barrier, terms)) return isAuthentic(checked, own.key) ? new OwnKeys() : undefined;
  const former = keyring && barrier.formerKeyring(keyring);
  const derived = former && deriveKey(former, MAC_PURPOSE, term);
  const isOpened = derived && isAuthentic(checked, derived.key) && [...terms].every((one) => former.keyOf(one));
  if (isOpened) return new OwnKeys(former);
  former?.dispose();
  return undefined;
}

/** The same. Throws `invalid_request` in place of giving nothing. */
export function requireOwnKeys(spool: Spool, barrier: Barrier): OwnKeys {
  const keys = ownKeys(spool, barrier);
  if (keys) return keys;
  throw new CofferError("invalid_request", "the snapshot is not of this store's keys, or it was changed");
}

/** Whether the keyring of today has all terms that a snapshot's values are under. */
export function hasAll(barrier: Barrier, terms: ReadonlySet<number>): boolean {
  return terms.isSubsetOf(new Set(barrier.terms().map(({ term }) => term)));
}
