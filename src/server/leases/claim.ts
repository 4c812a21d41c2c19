// Who is at work on an item of the background, so that nobody else is at the same time (docs/adr/0019-claims.md). A claim is a
// member of the item's own record, taken by a commit that has the record in its read set: of two who want it, one
// commits. What its holder commits has read the record too, so one who was away for longer than his claim and comes
// back to find it taken by another commits nothing.
import { randomUUID } from "node:crypto";
import { type Clock, within } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { type Infer, number, object, string } from "#common/schema.ts";
import type { Transaction } from "../barrier/transaction.ts";

export const claimSchema = object({
  /** Of one piece of work, not of a node: two requests of one process exclude each other too. */
  holder: string,
  /** Then another may take it. */
  untilSeconds: number,
});
export type Claim = Infer<typeof claimSchema>;

/** How long one attempt at something outside may take before another node may begin one. */
export const CLAIM_SECONDS = 60;

export function newClaim(nowSeconds: number, claimSeconds: number): Claim {
  return { holder: randomUUID(), untilSeconds: nowSeconds + claimSeconds };
}

/** Whether somebody is at work on it. */
export function isHeld(claim: Claim | undefined, nowSeconds: number): boolean {
  return claim !== undefined && claim.untilSeconds > nowSeconds;
}

/** Commits of one piece of work that others may be in the way of while the claim holds. */
const COMMITS_MAX = 10;
/** Of the claim's time, what is kept for noting how it went. */
const MARGIN = 0.1;

/** What ending something outside for too long is. */
export class TooLate extends CofferError {
  constructor() {
    super("upstream_failed", "ending it took longer than one attempt may");
  }
}

/**
 * Does what a claim was taken for. `work` reads the claimed record, answers false when the claim is not its own any
 * more, and else acts and writes; it is called again when its commit meets a conflict. Gives the transaction that was
 * committed, or undefined when the claim was lost. Throws what the work throws, and TooLate.
 */
export async function underClaim(
  { begin, clock }: { begin(): Transaction; readonly clock: Clock },
  claim: Claim,
  work: (tx: Transaction, signal: AbortSignal) => Promise<boolean>,
): Promise<Transaction | undefined> {
  const end = new AbortController();
  for (let commit = 0; commit < COMMITS_MAX; commit++) {
    const millisLeft = (claim.untilSeconds * 1000 - clock.now()) * (1 - MARGIN);
    if (millisLeft <= 0) return undefined;
    const tx = begin();
    const isOwn = await within(clock, millisLeft, work(tx, end.signal));
    if (isOwn === "late") {
      end.abort("its time is over");
      throw new TooLate();
    }
    if (!isOwn) return undefined;
    if ((await tx.commit()) === "committed") return tx;
  }
  throw new CofferError("conflict", "others kept changing what ending it reads");
}
