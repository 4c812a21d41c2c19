// Commits that travel together as one transaction of etcd with one inside for each, which has an outcome of its own.
// Pure. Why this is correct: docs/adr/0017-etcd.md.
import type { CommitBatch } from "../storage.ts";
import { groupRequest, type TxnResult } from "./messages.ts";
import type { Message } from "./wire.ts";

export interface QueuedCommit {
  readonly batch: CommitBatch;
  readonly request: Message;
}

/** Enough to make the round trip and the entry of etcd's log cheap. */
const COMMITS_MAX = 16;
/** Of one commit in a group: etcd's default for a transaction, less those that stand beside it. */
export const GROUPED_OPERATIONS_MAX = 128 - COMMITS_MAX;
/** A group is written as a whole, so a large value travels alone. */
const BYTES_MAX = 256 * 1024;

/**
 * Takes from the queue what can travel together. etcd looks at all comparisons before it writes anything, so no commit
 * of a group may write what another one reads or writes. One that does, and all later ones on the same keys, wait for
 * the next group, so that nobody is overtaken for ever.
 */
export function takeGroup(waiting: readonly QueuedCommit[]): QueuedCommit[] {
  const group: QueuedCommit[] = [];
  const [read, written] = [new Set<string>(), new Set<string>()];
  let bytes = 0;
  for (const commit of waiting) {
    if (group.length >= COMMITS_MAX || (group.length > 0 && bytes + commit.request.length > BYTES_MAX)) break;
    if (!clashes(commit, read, written)) {
      group.push(commit);
      bytes += commit.request.length;
    }
    for (const key of commit.batch.expected.keys()) read.add(key);
    for (const key of commit.batch.writes.keys()) written.add(key);
  }
  return group;
}

function clashes({ batch }: QueuedCommit, read: ReadonlySet<string>, written: ReadonlySet<string>): boolean {
  for (const key of batch.writes.keys()) if (read.has(key) || written.has(key)) return true;
  for (const key of batch.expected.keys()) if (written.has(key)) return true;
  return false;
}

/** One transaction for a group. */
export function requestOf(group: readonly QueuedCommit[]): Message {
  const [first] = group;
  return first !== undefined && group.length === 1 ? first.request : groupRequest(group.map(({ request }) => request));
}

/** The outcome of each. */
export function resultsOf(group: readonly QueuedCommit[], result: TxnResult): readonly TxnResult[] {
  return group.length === 1 ? [result] : result.inner;
}
