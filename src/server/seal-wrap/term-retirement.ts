// Gives up terms of the keyring under which nothing is any more: on demand, and by itself when `retire_after` of the
// rotation policy says so. The proof is a walk of everything (rewrap.ts), whose record is in the read set of the commit
// that takes the terms out of the keyring. Must not decide what is under a term itself. docs/adr/0025-retired-terms.md.
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Barrier, KeyStatus } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { isRunning, type Rewrap, readRewrap } from "./rewrap-record.ts";

/** Between two looks whether a term is due, which costs a read while one is. */
const LOOK_MILLIS: Millis = 30_000;
/** Before another walk after one that met entries which it could not read. */
const AFTER_FAILURE_MILLIS: Millis = 60 * 60_000;

export interface TermRetirementDependencies {
  readonly barrier: Barrier;
  readonly clock: Clock;
  /** Queues a walk of everything. */
  start(tx: Transaction): Promise<void>;
}

export interface TermStatus extends KeyStatus {
  readonly isActive: boolean;
  /** When the next term took over; undefined for the active one. */
  readonly endedAt: Millis | undefined;
  /** Of the last walk of everything, or of the one under way; undefined when nobody has counted. */
  readonly entries: number | undefined;
  /** Of all entries that were counted, 0 to 1. */
  readonly share: number | undefined;
  /** It is proved that nothing is under it. */
  readonly isRetirable: boolean;
}

export interface TermsStatus {
  readonly terms: readonly TermStatus[];
  readonly rewrap: Rewrap;
}

export class TermRetirement {
  readonly #deps: TermRetirementDependencies;
  #nextLook: Millis = 0;
  constructor(dependencies: TermRetirementDependencies) {
    this.#deps = dependencies;
  }

  async status(tx: Transaction): Promise<TermsStatus> {
    const rewrap = await readRewrap(tx);
    const counted = isRunning(rewrap) && rewrap.counting ? rewrap.counting : rewrap.coverage;
    const all = this.#deps.barrier.terms();
    const terms = all.map((term, i) => {
      const next = all[i + 1];
      const entries = counted && (counted.terms[String(term.term)] ?? 0);
      return {
        ...{ ...term, isActive: next === undefined, endedAt: next?.installedAt },
        ...{ entries, share: counted && entries !== undefined ? entries / Math.max(1, counted.entries) : undefined },
        isRetirable: next !== undefined && isEmpty(rewrap, term.term),
      };
    });
    return { terms, rewrap };
  }

  /**
   * Gives up all terms up to this one (all but the active one without it) by the transaction's commit. Gives their numbers.
   * Throws `invalid_request` when there is none, or something may still be under one.
   */
  async retire(tx: Transaction, through?: number): Promise<readonly number[]> {
    const { barrier } = this.#deps;
    const old = barrier.terms().slice(0, -1);
    const last = old.at(-1)?.term;
    if (last === undefined) throw invalid("the keyring has no term but the one in use; rotate first");
    const upTo = through ?? last;
    const given = old.map(({ term }) => term).filter((term) => term <= upTo);
    if (given.length === 0 || upTo > last)
      throw invalid(`term must be from ${old[0]?.term} to ${last}, the terms that are over`);
    const rewrap = await readRewrap(tx);
    if (!isEmpty(rewrap, upTo)) throw invalid(refusal(rewrap, upTo));
    await barrier.retire(tx, upTo);
    return given;
  }

  /** For background work: gives up what is due, or starts the walk that it takes. Gives the terms that are gone. */
  async retireIfDue(): Promise<readonly number[]> {
    const { barrier, clock } = this.#deps;
    const through = this.#due();
    const now = clock.now();
    if (through === undefined || now < this.#nextLook) return [];
    this.#nextLook = now + LOOK_MILLIS;
    const tx = barrier.begin();
    const rewrap = await readRewrap(tx);
    let gone: readonly number[] = [];
    if (isEmpty(rewrap, through)) gone = await this.retire(tx, through);
    else if (isRunning(rewrap) || failedLately(rewrap, now)) return [];
    else await this.#deps.start(tx);
    // Of two that met, the other one has done it.
    return (await tx.commit()) === "committed" ? gone : [];
  }

  /** The newest term that ended long enough ago. */
  #due(): number | undefined {
    const { barrier, clock } = this.#deps;
    const after = barrier.rotationPolicy().retire_after_millis ?? 0;
    if (after === 0) return undefined;
    const terms = barrier.terms();
    const ended = (i: number) => terms[i + 1]?.installedAt;
    return terms.findLast((_, i) => (ended(i) ?? Infinity) <= clock.now() - after)?.term;
  }
}

function isEmpty({ emptyBelow = 0 }: Rewrap, term: number): boolean {
  return term < emptyBelow;
}

function failedLately({ failed, finishedTime }: Rewrap, now: Millis): boolean {
  return failed > 0 && finishedTime !== undefined && now - Date.parse(finishedTime) < AFTER_FAILURE_MILLIS;
}

/** Why a term has to stay, and what to do. */
function refusal(rewrap: Rewrap, through: number): string {
  const what = `something may still be under term ${through} or an older one`;
  const { counting, failed, processed, lastError } = rewrap;
  if (isRunning(rewrap)) {
    const left = counting?.found ? `; so far it has met ${under(counting.found, through)} there` : "";
    return `${what}: the rewrap is under way and has looked at ${processed} entries${left}. Ask again when it is done`;
  }
  if (failed > 0)
    return `${what}: the last rewrap could not read ${failed} of ${processed} entries (${lastError}). Repair or delete them, then start another by sys/sealwrap/rewrap`;
  return `${what}: no rewrap has gone through everything since it ended. Start one by sys/sealwrap/rewrap, and ask again when it is done`;
}

function under(found: Readonly<Record<string, number>>, through: number): string {
  const count = Object.entries(found).reduce(
    (sum, [term, entries]) => sum + (Number(term) <= through ? entries : 0),
    0,
  );
  return count === 1 ? "1 entry" : `${count} entries`;
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
