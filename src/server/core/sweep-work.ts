// What the sweeps of the background have in common: transactions that others may be in the way of, room for requests in between, and telling what was done for nobody's request.
import type { Clock, Millis } from "#common/clock.ts";
import type { SystemEvent } from "../audit/system-entry.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { BackgroundDependencies } from "./background.ts";
import type { SweepKind } from "./sweep-counts.ts";

const ATTEMPTS_MAX = 10;
/** Longest pause after a piece of work, however long it took. */
const PAUSE_MILLIS_MAX = 25;

/**
 * What the work answered, or undefined when others were always in the way: then they did it, or the next round does.
 * `first`: a transaction that has read what the work reads.
 */
export async function transact<T>(
  { barrier, events, counts }: BackgroundDependencies,
  kind: SweepKind,
  work: (tx: Transaction) => Promise<T>,
  first: Transaction = barrier.begin(),
): Promise<T | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const tx = attempt === 0 ? first : barrier.begin();
    const result = await work(tx);
    if ((await tx.commit()) === "committed") {
      events.publish(tx);
      return result;
    }
    counts.noteConflict(kind);
  }
  return undefined;
}

/** A pause as long as the work since the last one: while much is due, half of the time is the requests'. */
export function pacing(clock: Clock): () => Promise<void> {
  let since: Millis = clock.now();
  return async () => {
    const took = Math.min(clock.now() - since, PAUSE_MILLIS_MAX);
    if (took > 0) await clock.sleep(took);
    since = clock.now();
  };
}

export function tell({ audit, barrier }: BackgroundDependencies, event: SystemEvent): Promise<void> {
  return audit.recordSystem(barrier.begin(), event);
}
