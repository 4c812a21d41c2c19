// Compiled ACLs, kept while what they were compiled from is unchanged. An entry is keyed by the names and the values
// of template variables, and used only when the records read now are the very objects it was made from: records of a
// cached kind are the same frozen object while their version is current (invariant I2). So it saves work, never a read.
import type { Millis } from "#common/clock.ts";
import type { Acl } from "./acl.ts";
import type { PolicyRecord } from "./policy-kind.ts";

/** Enough for the combinations of policies and identities in use at once on a busy node; about ten kilobytes each. */
export const ACL_CACHE_MAX = 2_000;

export class CompiledAcl {
  readonly acl: Acl;
  /** Names of the policies that storage was asked for, and what it had. */
  readonly stored: readonly string[];
  readonly #records: readonly (PolicyRecord | undefined)[];
  /** Without templates: the same for everybody with these policies. */
  readonly isPlain: boolean;
  constructor(acl: Acl, stored: readonly string[], records: readonly (PolicyRecord | undefined)[], isPlain: boolean) {
    this.acl = acl;
    this.stored = stored;
    this.#records = records;
    this.isPlain = isPlain;
  }

  /** Undefined when these are not the records that it was made of, or a rule has run out. */
  aclIfCurrent(records: readonly (PolicyRecord | undefined)[], now: Millis): Acl | undefined {
    const areSame = records.length === this.#records.length && records.every((each, i) => each === this.#records[i]);
    return areSame ? this.aclUntil(now) : undefined;
  }

  /** For who knows that the records are the same; undefined when a rule has run out. */
  aclUntil(now: Millis): Acl | undefined {
    return this.acl.validUntilMillis > now ? this.acl : undefined;
  }
}

export class AclCache {
  readonly #entries = new Map<string, CompiledAcl>();

  get size(): number {
    return this.#entries.size;
  }

  get(key: string, records: readonly (PolicyRecord | undefined)[], now: Millis): CompiledAcl | undefined {
    const entry = this.#entries.get(key);
    if (!entry?.aclIfCurrent(records, now)) return undefined;
    // Last used last: a Map keeps the order of insertion.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  set(key: string, compiled: CompiledAcl): void {
    this.#entries.delete(key);
    this.#entries.set(key, compiled);
    if (this.#entries.size <= ACL_CACHE_MAX) return;
    const oldest = this.#entries.keys().next();
    if (oldest.done !== true) this.#entries.delete(oldest.value);
  }
}
