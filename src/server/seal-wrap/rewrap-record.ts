// How far the rewrap is: one record, for all nodes and across restarts.
//
//   core/sealwrap/rewrap   the JSON below, version 1

import { type Infer, list, map, number, object, optional, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import { claimSchema } from "../leases/claim.ts";

const REWRAP_KEY = "core/sealwrap/rewrap";
const VERSION = 1;
/** Ranges that wait; with more, all is walked instead. */
const QUEUE_MAX = 100;
/** All of the store. */
export const EVERYTHING = "";

const coverageSchema = object({
  /** Entries that were looked at. */
  entries: number,
  /** Critical ones that are not wrapped. */
  plain: number,
  /** Wrapped ones, by the generation of the seal-wrap key. */
  generations: map(number),
  /** Entries by the term of the barrier's key, as they are now. */
  terms: map(number),
  /** The same as the walk has met them. Missing in records of before. */
  found: optional(map(number)),
});
export type Coverage = Infer<typeof coverageSchema>;

const rewrapSchema = object({
  version: number,
  /** Prefixes to walk, the first one now. Empty: nothing to do. */
  queue: list(string),
  /** Where in the first one to go on. */
  cursor: optional(string),
  claim: optional(claimSchema),
  startedTime: optional(string),
  finishedTime: optional(string),
  processed: number,
  succeeded: number,
  failed: number,
  /** Of the walk of everything that is under way. */
  counting: optional(coverageSchema),
  /** The generation and the term that were the last when that walk began: what is older is gone when it has ended. */
  sinceGeneration: optional(number),
  sinceTerm: optional(number),
  /** Nothing is under a term below this one, and nothing can come: the proof by which terms are retired. */
  emptyBelow: optional(number),
  /** Of the last walk of everything that ended, and when that was. */
  coverage: optional(coverageSchema),
  coverageTime: optional(string),
  /** Why the last entry failed, or the last attempt. */
  lastError: optional(string),
});
export type Rewrap = Infer<typeof rewrapSchema>;
const rewrapKind = recordKind("rewrap", rewrapSchema);

export async function readRewrap(tx: Transaction): Promise<Rewrap> {
  const record = await tx.read(rewrapKind, REWRAP_KEY);
  return record ?? { version: VERSION, queue: [], processed: 0, succeeded: 0, failed: 0 };
}

export function writeRewrap(tx: Transaction, rewrap: Rewrap): void {
  tx.write(rewrapKind, REWRAP_KEY, rewrap);
}

export function isRunning({ queue }: Rewrap): boolean {
  return queue.length > 0;
}

export function noCoverage(): Coverage {
  return { entries: 0, plain: 0, generations: {}, terms: {}, found: {} };
}

/** Lets what lies below a prefix be brought to its form. What is being walked already is walked once more afterwards. */
export async function queueRewrap(tx: Transaction, prefix: string, now: string): Promise<void> {
  const before = await readRewrap(tx);
  const fresh = isRunning(before)
    ? {}
    : { startedTime: now, finishedTime: undefined, processed: 0, succeeded: 0, failed: 0, lastError: undefined };
  const [first, ...waiting] = before.queue;
  const wanted = waiting.length >= QUEUE_MAX ? EVERYTHING : prefix;
  if (waiting.includes(wanted)) return;
  writeRewrap(tx, { ...before, ...fresh, queue: first === undefined ? [wanted] : [first, ...waiting, wanted] });
}
