// Compiled ACLs, kept while what they were compiled from is unchanged. An entry is keyed by the names and the values
// of template variables, and used only when the records read now are the very objects it was made from: records of a
// cached kind are the same frozen object while their version is current (invariant I2). So it saves work, never a read.
import type { Millis } from "#common/clock.ts";
import type { Acl } from "./acl.ts";
import type { PolicyRecord } from "./policy-kind.ts";

/** Enough for the combinations of policies and identities in use at once on a busy node; about ten kilobytes each. */
export const ACL_CACHE_MAX = 2_000;

interface Entry {
  readonly records: readonly (PolicyRecord | undefined)[];
  readonly acl: Acl;
}

export class AclCache {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  get(key: string, records: readonly (PolicyRecord | undefined)[], now: Millis): Acl | undefined {
    const entry = this.#entries.get(key);
    if (!entry || entry.acl.validUntilMillis <= now) return undefined;
    if (entry.records.length !== records.length || entry.records.some((record, i) => record !== records[i]))
      return undefined;
    // Last used last: a Map keeps the order of insertion.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.acl;
  }

  set(key: string, records: readonly (PolicyRecord | undefined)[], acl: Acl): void {
    this.#entries.delete(key);
    this.#entries.set(key, { records, acl });
    if (this.#entries.size <= ACL_CACHE_MAX) return;
    const oldest = this.#entries.keys().next();
    if (oldest.done !== true) this.#entries.delete(oldest.value);
  }
}
