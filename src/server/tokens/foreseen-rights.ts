// What the requests of a token will most likely read besides its record: its policies and its entity, as they were named
// when it was last found. For reading ahead alone: with a store across a network that is one round trip less for each
// request. Who needs a record reads it from the transaction as ever.
import { entityKey } from "../identity/identity-records.ts";
import { IMMUTABLE_POLICIES } from "../policy/builtin-policies.ts";
import { UNGUARDED_POLICIES_MAX } from "../policy/policy-guard.ts";
import { policyKey } from "../policy/policy-kind.ts";
import type { TokenRecord } from "./token-record.ts";

/** Enough for the tokens in use at once on a busy node; some hundred bytes each. */
const TOKENS_MAX = 5_000;

export class ForeseenRights {
  readonly #keys = new Map<string, readonly string[]>();

  /** Storage keys, for the hash of a token; none when it was not seen of late. */
  keysOf(hash: string): readonly string[] {
    return this.#keys.get(hash) ?? [];
  }

  /** Of tokens of the root namespace; those of others have their policies elsewhere. */
  note({ type, hash, namespace, policies, entityId }: TokenRecord): void {
    if (type === "batch" || namespace !== "" || this.#keys.has(hash)) return;
    // So many are not read one by one (policy-guard.ts).
    const asked = policies.length > UNGUARDED_POLICIES_MAX ? [] : policies;
    const stored = asked.filter((name) => !IMMUTABLE_POLICIES.includes(name)).map(policyKey);
    this.#keys.set(hash, entityId === "" ? stored : [...stored, entityKey(entityId)]);
    if (this.#keys.size <= TOKENS_MAX) return;
    const oldest = this.#keys.keys().next();
    if (oldest.done !== true) this.#keys.delete(oldest.value);
  }
}
