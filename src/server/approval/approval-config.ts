// How long a request may wait for approval at most.
import type { Seconds } from "#common/clock.ts";
import { number, object } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";

const configKind = recordKind("limits of control groups", object({ maxTtlSeconds: number }), { cached: true });
const KEY = "core/control-group-config";

/** A day: what Vault has. */
export const APPROVAL_SECONDS_DEFAULT: Seconds = 86_400;

export async function maxApprovalSeconds(tx: Transaction): Promise<Seconds> {
  return (await tx.read(configKind, KEY))?.maxTtlSeconds ?? APPROVAL_SECONDS_DEFAULT;
}

/** `undefined` sets back to the default. */
export function setMaxApprovalSeconds(tx: Transaction, maxTtlSeconds: Seconds | undefined): void {
  if (maxTtlSeconds === undefined) tx.delete(KEY);
  else tx.write(configKind, KEY, { maxTtlSeconds });
}
