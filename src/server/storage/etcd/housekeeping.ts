// Keeps etcd's database from filling up: forgets history that nobody needs (etcd keeps all of it until it is told), and
// says so in the log before the quota is reached. Several servers may do this at once: the first one has done it.
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { type EtcdCluster, METHOD } from "./cluster.ts";
import { isCompacted, isConfigurationFault } from "./faults.ts";
import { formatKey } from "./format.ts";
import { compactRequest, parseRange, parseStatus, rangeRequest, type StatusResult } from "./messages.ts";
import { oldestPin } from "./snapshot.ts";
import { Message } from "./wire.ts";

const LOOK_MILLIS: Millis = 60_000;
/** etcd's default quota, where the server does not tell its own. */
export const DEFAULT_QUOTA_BYTES = 2 * 1024 * 1024 * 1024;
/** Of the quota; leaves time to raise it. */
const WARNING_SHARE = 0.8;
const MIB = 1024 * 1024;

export interface House {
  readonly cluster: EtcdCluster;
  readonly path: string;
  /** How much history is kept; undefined keeps all of it. */
  readonly compactionMillis: Millis | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** Runs until the cluster is told to close. */
export async function keepHouse(house: House): Promise<void> {
  const { cluster, clock, log, compactionMillis = Infinity } = house;
  let marked = { revision: 0, at: clock.now() };
  while (!cluster.closing.aborted) {
    await clock.sleep(Math.min(LOOK_MILLIS, compactionMillis), cluster.closing);
    if (cluster.closing.aborted) return;
    try {
      const status = await statusOf(cluster);
      if (status !== undefined) warnOfSize(status, log);
      if (clock.now() - marked.at < compactionMillis) continue;
      // A snapshot that begins after this look is newer than the mark.
      if (marked.revision > 0) await compact(house, Math.min(marked.revision, await oldestPin(house)));
      marked = { revision: await revisionOf(house), at: clock.now() };
    } catch (error) {
      if (!cluster.closing.aborted) log.debug("cannot look after etcd's database", { error: messageOf(error) });
    }
  }
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

/** Pages that are free are used again, so what counts is the file: it never shrinks without defragmentation. */
function warnOfSize({ size, sizeInUse, quota }: StatusResult, log: Log): void {
  const limit = quota || DEFAULT_QUOTA_BYTES;
  if (size < limit * WARNING_SHARE) return;
  log.warn("etcd's database is nearly full; defragment it, or raise --quota-backend-bytes of its members", {
    sizeMib: Math.round(size / MIB),
    inUseMib: Math.round(sizeInUse / MIB),
    quotaMib: Math.round(limit / MIB),
  });
}
