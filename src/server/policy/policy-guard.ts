// One record that every change of a policy writes, in the policies' own namespace. Who has very many policies reads it in
// place of all of them: as long as its version is the one that was read before them, they are what they were (I2). A
// change of any policy makes such requests look at all of theirs once again.
//
//   core/policy-guard    { at }: when a policy was last written or deleted
import type { Millis } from "#common/clock.ts";
import { number, object } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import { POLICY_PREFIX } from "./policy-kind.ts";

/** Up to as many policies, reading each is the cheaper of both for who writes meanwhile: nothing else disturbs it. */
export const UNGUARDED_POLICIES_MAX = 32;
const GUARD_KEY = "core/policy-guard";
const guardKind = recordKind("policy guard", object({ at: number }), { cached: true });

/** The same object while no policy changes; undefined in a store that was made before there were guards. */
export function readPolicyGuard(tx: Pick<Transaction, "read">): Promise<object | undefined> {
  return tx.read(guardKind, GUARD_KEY);
}

/** Part of every change of a policy. */
export function markPoliciesChanged(tx: Pick<Transaction, "write">, now: Millis): void {
  tx.write(guardKind, GUARD_KEY, { at: now });
}

/** The same for who writes records by their keys, of whatever namespace; nothing for other keys. */
export function markIfPolicyKey(tx: Pick<Transaction, "write">, key: string, now: Millis): void {
  const at = key.indexOf(POLICY_PREFIX);
  if (at >= 0) tx.write(guardKind, key.slice(0, at) + GUARD_KEY, { at: now });
}
