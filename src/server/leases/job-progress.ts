// How far a slice of a job got, and what most of them end with: deleting what lies below a prefix.
import type { Transaction } from "../barrier/transaction.ts";

/** "handed on": what is left is in jobs of its own. "waiting": something else has to happen first. */
export type Progress = "done" | "handed on" | "more" | "waiting";

/** Records that one transaction deletes. */
export const DATA_PAGE = 1_000;

/** Deletes a page of what lies below a prefix. True when nothing is left. */
export async function deleteBelow(tx: Transaction, prefix: string): Promise<boolean> {
  const keys = await tx.scan({ from: prefix, to: `${prefix}\u{10ffff}`, limit: DATA_PAGE });
  for (const key of keys) tx.delete(key);
  return keys.length < DATA_PAGE;
}

/** Whether anything lies below a prefix. */
export async function isAnyBelow(tx: Transaction, prefix: string): Promise<boolean> {
  return (await tx.scan({ from: prefix, to: `${prefix}\u{10ffff}`, limit: 1 })).length > 0;
}
