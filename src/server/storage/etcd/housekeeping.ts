// Keeps etcd's database from filling up: forgets history that nobody needs (etcd keeps all of it until it is told), and
// says so in the log before the quota is reached. Several servers may do this at once: the first one has done it.
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { type EtcdCluster, METHOD } from "./cluster.ts";
import { isCompacted } from "./faults.ts";
import { compactRequest, parseStatus, type StatusResult } from "./messages.ts";
import { Message } from "./wire.ts";

const LOOK_MILLIS: Millis = 60_000;
/** etcd's default quota, where the server does not tell its own. */
const DEFAULT_QUOTA_BYTES = 2 * 1024 * 1024 * 1024;
/** Of the quota; leaves time to raise it. */
const WARNING_SHARE = 0.8;
const MIB = 1024 * 1024;

/** Runs until the cluster is told to close. `compaction` is how much history is kept; undefined keeps all of it. */
export async function keepHouse(
  cluster: EtcdCluster,
  compaction: Millis | undefined,
  clock: Clock,
  log: Log,
): Promise<void> {
  let marked = { revision: 0, at: clock.now() };
  while (!cluster.closing.aborted) {
    await clock.sleep(Math.min(LOOK_MILLIS, compaction ?? LOOK_MILLIS), cluster.closing);
    if (cluster.closing.aborted) return;
    try {
      const status = await statusOf(cluster);
      warnOfSize(status, log);
      if (compaction === undefined || clock.now() - marked.at < compaction) continue;
      if (marked.revision > 0) await compact(cluster, marked.revision);
      marked = { revision: status.revision, at: clock.now() };
    } catch (error) {
      if (!cluster.closing.aborted) log.debug("cannot look after etcd's database", { error: messageOf(error) });
    }
  }
}

export async function statusOf(cluster: EtcdCluster): Promise<StatusResult> {
  return parseStatus(await cluster.call(METHOD.status, new Message(), "read"));
}

/** A revision that another server has compacted already is as good. */
async function compact(cluster: EtcdCluster, revision: number): Promise<void> {
  await cluster.call(METHOD.compact, compactRequest(revision), "write").catch((error: unknown) => {
    if (!(error instanceof Error && isCompacted(error.cause))) throw error;
  });
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
