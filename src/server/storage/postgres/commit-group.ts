// Commits that travel together: which may, the locks that they need, and the parameters of the statement. Pure.
// Why this is correct is in docs/adr/0016-postgres-commit.md.
import { hash } from "node:crypto";
import type { CommitBatch } from "../storage.ts";
import { boolArray, byteaArray, int4Array, int8Array } from "./binary-array.ts";
import type { BoundStatement } from "./pipeline.ts";
import type { Statements } from "./statements.ts";

/** A commit with its keys in bytes, prepared once however often it is sent. */
export interface PreparedCommit {
  readonly reads: readonly { readonly key: Buffer; readonly lock: bigint; readonly version: bigint }[];
  readonly writes: readonly { readonly key: Buffer; readonly lock: bigint; readonly value: Uint8Array | null }[];
  readonly bytes: number;
}

/** Enough to make the round trip cheap; few enough that one failure takes few with it. */
const COMMITS_MAX = 64;
/** A group is sent and written as a whole, so a large value travels alone. */
const BYTES_MAX = 2 * 1024 * 1024;
/**
 * More locks than this are taken as one on everything. The server has room for max_locks_per_transaction (64) times
 * max_connections (100) of them in all.
 */
const LOCKS_MAX = 256;

export function prepareCommit({ expected, writes }: CommitBatch, table: string): PreparedCommit {
  const lock = (key: string) => lockOf(table, key);
  let bytes = 0;
  for (const value of writes.values()) bytes += value?.length ?? 0;
  return {
    reads: [...expected].map(([key, version]) => ({ key: Buffer.from(key), lock: lock(key), version: version ?? 0n })),
    writes: [...writes].map(([key, value]) => ({ key: Buffer.from(key), lock: lock(key), value })),
    bytes,
  };
}

/** A number for a key. Two keys may share one: they then wait for each other, and nothing else. */
function lockOf(table: string, key: string): bigint {
  return hash("sha256", `${table}\0${key}`, "buffer").readBigInt64BE(0);
}

/**
 * Takes from the queue what can travel together: no commit of a group writes what another one reads or writes. One
 * that cannot, and all later ones on the same keys, wait for the next group, so that nobody is overtaken for ever.
 */
export function takeGroup(waiting: readonly PreparedCommit[]): PreparedCommit[] {
  const group: PreparedCommit[] = [];
  const [read, written] = [new Set<bigint>(), new Set<bigint>()];
  let [bytes, locks] = [0, 0];
  for (const commit of waiting) {
    const fits = group.length === 0 || (bytes + commit.bytes <= BYTES_MAX && locks + sizeOf(commit) <= LOCKS_MAX);
    if (!fits || group.length >= COMMITS_MAX) break;
    const clashes =
      commit.writes.some(({ lock }) => read.has(lock) || written.has(lock)) ||
      commit.reads.some(({ lock }) => written.has(lock));
    if (!clashes) {
      group.push(commit);
      bytes += commit.bytes;
    }
    for (const { lock } of commit.reads) read.add(lock);
    for (const { lock } of commit.writes) written.add(lock);
    locks = read.size + written.size;
  }
  return group;
}

const sizeOf = ({ reads, writes }: PreparedCommit) => reads.length + writes.length;

/**
 * The two statements of a commit: all locks in one order for everybody (so that nobody waits in a circle), then the
 * check and the writes. `exclusive` takes everything instead.
 */
export function groupStatements(
  statements: Statements,
  group: readonly PreparedCommit[],
  table: string,
  exclusive: boolean,
): readonly BoundStatement[] {
  const modes = lockModes(group);
  const everything = lockOf(table, "");
  const all = exclusive || modes.size > LOCKS_MAX;
  const order = all ? [] : [...modes.keys()].sort((a, b) => (a < b ? -1 : 1));
  const lockKeys = int8Array([everything, ...order]);
  const lockModesParameter = boolArray([all, ...order.map((lock) => modes.get(lock) ?? false)]);
  return [
    { statement: statements.lock, values: [lockKeys, lockModesParameter] },
    { statement: statements.commit, values: commitValues(group) },
  ];
}

/**
 * With locking by row: the row, the writes of those whose read set stands, and what of them removes. The row is taken
 * after everything has arrived, as the locks are.
 */
export function rowStatements(statements: Statements, group: readonly PreparedCommit[]): readonly BoundStatement[] {
  const removed = group.flatMap(({ writes }) => writes.filter(({ value }) => value === null).map(({ key }) => key));
  return [
    { statement: statements.lock, values: [] },
    { statement: statements.commit, values: commitValues(group) },
    ...(removed.length > 0 ? [{ statement: statements.clear, values: [byteaArray(removed)] }] : []),
  ];
}

/** Lock -> whether it is for a write. */
function lockModes(group: readonly PreparedCommit[]): ReadonlyMap<bigint, boolean> {
  const modes = new Map<bigint, boolean>();
  for (const { reads } of group) for (const { lock } of reads) modes.set(lock, false);
  for (const { writes } of group) for (const { lock } of writes) modes.set(lock, true);
  return modes;
}

function commitValues(group: readonly PreparedCommit[]): Buffer[] {
  const reads = group.flatMap((commit, owner) => commit.reads.map((read) => ({ ...read, owner })));
  const writes = group.flatMap((commit, owner) => commit.writes.map((write) => ({ ...write, owner })));
  return [
    int4Array(reads.map(({ owner }) => owner)),
    byteaArray(reads.map(({ key }) => key)),
    int8Array(reads.map(({ version }) => version)),
    int4Array(writes.map(({ owner }) => owner)),
    byteaArray(writes.map(({ key }) => key)),
    byteaArray(writes.map(({ value }) => value)),
  ];
}
