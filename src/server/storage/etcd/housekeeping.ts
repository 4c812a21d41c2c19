// Keeps etcd's database from filling up: forgets history that nobody needs (etcd keeps all of it until it is told), and
// says so in the log and the status before the quota is reached. Several servers may do this at once: the first one has
// done it. Defragmentation is left to people: a member answers nobody meanwhile (docs/guides/etcd.md).
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { StorageUsage } from "../storage.ts";
import { type EtcdCluster, METHOD } from "./cluster.ts";
import { isCompacted, isConfigurationFault, NO_SPACE_MESSAGE } from "./faults.ts";
import { formatKey } from "./format.ts";
import { compactRequest, parseRange, parseStatus, rangeRequest, type StatusResult } from "./messages.ts";
import { oldestPin } from "./snapshot.ts";
import { Message } from "./wire.ts";

const LOOK_MILLIS: Millis = 60_000;
/** While the database is full somebody is at work on it. */
const LOOK_WHILE_FULL_MILLIS: Millis = 2_000;
/** Of the quota; leaves time to raise it. */
const WARNING_SHARE = 0.8;
/** Of the file: with less in use, defragmentation is what gives room. */
const SPARSE_SHARE = 0.5;
const MIB = 1024 * 1024;

/** What was last known of the database. */
export class DatabaseState {
  /** Where etcd does not tell its own. */
  readonly #quotaBytes: number;
  #status: StatusResult | undefined;
  #isFull = false;
  #full = Promise.withResolvers<void>();

  constructor(quotaBytes: number) {
    this.#quotaBytes = quotaBytes;
  }

  /** Undefined leaves what was learned of writes. */
  learn(status: StatusResult | undefined): void {
    this.#status = status;
    if (status !== undefined) this.#isFull = status.errors.some((text) => text.includes("NOSPACE"));
  }

  noteWritten(): void {
    this.#isFull = false;
  }

  /** A write was refused for lack of room: whoever looks after the database looks now. */
  noteFull(): void {
    if (this.#isFull) return;
    this.#isFull = true;
    this.#full.resolve();
    this.#full = Promise.withResolvers<void>();
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  /** Resolves with the next `noteFull`. */
  whenFull(): Promise<void> {
    return this.#full.promise;
  }

  /** Undefined where the user may not know, unless writes are refused. */
  usage(): StorageUsage | undefined {
    if (this.#status === undefined)
      return this.#isFull ? { sizeBytes: undefined, usedBytes: undefined, trouble: NO_SPACE_MESSAGE } : undefined;
    const { size, sizeInUse, quota } = this.#status;
    const limitBytes = quota || this.#quotaBytes;
    const trouble = this.#isFull ? NO_SPACE_MESSAGE : troubleOf(this.#status, limitBytes);
    return { sizeBytes: size, usedBytes: sizeInUse, limitBytes, trouble };
  }
}

/** Pages that are free are used again, so what counts is the file: it never shrinks without defragmentation. */
function troubleOf(status: StatusResult, quotaBytes: number): string | undefined {
  if (status.errors.some((text) => text.includes("CORRUPT")))
    return "a member of etcd has found its data corrupt (alarm CORRUPT); replace that member";
  if (status.size < quotaBytes * WARNING_SHARE) return undefined;
  return status.sizeInUse < status.size * SPARSE_SHARE
    ? "etcd's database is nearly full, most of it free pages; defragment its members, one after the other"
    : "etcd's database is nearly full; raise --quota-backend-bytes of its members";
}

export interface House {
  readonly cluster: EtcdCluster;
  readonly state: DatabaseState;
  readonly path: string;
  /** How much history is kept; undefined keeps all of it. */
  readonly compactionMillis: Millis | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** Runs until the cluster is told to close. */
export async function keepHouse(house: House): Promise<void> {
  const { cluster, state, clock, log, compactionMillis = Infinity } = house;
  let marked = { revision: 0, at: clock.now() };
  while (!cluster.closing.aborted) {
    await pause(house, state.isFull ? LOOK_WHILE_FULL_MILLIS : Math.min(LOOK_MILLIS, compactionMillis));
    if (cluster.closing.aborted) return;
    try {
      await cluster.learnMembers();
      const status = await statusOf(cluster);
      state.learn(status);
      warnOfTrouble(house);
      if (clock.now() - marked.at < compactionMillis) continue;
      // A snapshot that begins after this look is newer than the mark.
      if (marked.revision > 0) await compact(house, Math.min(marked.revision, await oldestPin(house)));
      marked = { revision: await revisionOf(house), at: clock.now() };
    } catch (error) {
      if (!cluster.closing.aborted) log.debug("cannot look after etcd's database", { error: messageOf(error) });
    }
  }
}

/** Until it is time, or the database is found to be full. */
async function pause({ cluster, state, clock }: House, millis: Millis): Promise<void> {
  const over = new AbortController();
  const wasFull = state.isFull;
  const slept = clock.sleep(millis, AbortSignal.any([over.signal, cluster.closing]));
  await (wasFull ? slept : Promise.race([slept, state.whenFull()]));
  over.abort("over");
}

/** Undefined when the user may not know: from 3.6 on only administrators may. */
export async function statusOf(cluster: EtcdCluster): Promise<StatusResult | undefined> {
  try {
    return parseStatus(await cluster.call(METHOD.status, new Message(), "read"));
  } catch (error) {
    if (error instanceof Error && isConfigurationFault(error.cause)) return undefined;
    throw error;
  }
}

/** Any read tells where the cluster is. */
async function revisionOf({ cluster, path }: House): Promise<number> {
  return parseRange(await cluster.call(METHOD.range, rangeRequest(formatKey(path)), "read")).revision;
}

/** A revision that another server has compacted already is as good. */
async function compact({ cluster, log }: House, revision: number): Promise<void> {
  try {
    await cluster.call(METHOD.compact, compactRequest(revision), "write");
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    if (isConfigurationFault(cause))
      log.warn("this user may not compact etcd's history, which grows; set --auto-compaction-retention of its members");
    else if (!isCompacted(cause)) throw error;
  }
}

function warnOfTrouble({ state, log }: House): void {
  const usage = state.usage();
  if (usage?.trouble === undefined) return;
  const { sizeBytes = 0, usedBytes = 0, limitBytes = 0 } = usage;
  const mib = (bytes: number) => Math.round(bytes / MIB);
  const sizes = { sizeMib: mib(sizeBytes), inUseMib: mib(usedBytes), quotaMib: mib(limitBytes) };
  log.warn(usage.trouble, sizes);
}
