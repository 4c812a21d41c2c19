// Slices of the jobs that requests leave behind. A slice is one transaction: it does a part and moves the job on, or
// deletes it when nothing is left.
import type { Transaction } from "../barrier/transaction.ts";
import { intentPrefix } from "../journal/intent-record.ts";
import { mountStoragePrefix } from "../mounts/mount-record.ts";
import { forgetEndedMount, readEndedMount } from "../mounts/mount-table.ts";
import { removeNamespaceSlice } from "../namespaces/namespace-removal.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import { orphanChildren, REVOKE_BUDGET } from "../tokens/revoke-token.ts";
import { isHeld } from "./claim.ts";
import { type Expiration, PREFIX_BUDGET } from "./expiration.ts";
import { DATA_PAGE, deleteBelow, isAnyBelow, type Progress } from "./job-progress.ts";
import { leaseIdsBelow, readLease } from "./lease-store.ts";
import { deleteJob, putJob, type RevocationJob, readJob } from "./revocation-job.ts";

/** Leases that one transaction looks at. */
const LEASE_PAGE = 1_000;

/** How long a job stays with the node that did its last slice; far longer than a slice takes. */
const JOB_CLAIM_SECONDS = 30;

/** "not ours": another node is at it. "more": there is more that can be done at once. */
export type SliceEnd = "not ours" | "more" | "rest";

/**
 * Does a slice of a job. The node that did a slice has the job for the next ones, by a claim that the slice's own commit
 * renews, so that nodes do not compete for it; `holder` is the node.
 */
export async function runSlice(
  whole: Transaction,
  id: string,
  expiration: Expiration,
  holder: string,
): Promise<SliceEnd> {
  const job = await readJob(whole, id);
  const now = expiration.nowSeconds();
  if (!job) return "rest";
  if (isHeld(job.claim, now) && job.claim?.holder !== holder) return "not ours";
  const tx = namespaceView(whole, job.namespace);
  const { progress, after = job.after, done = 0 } = await sliceOf(tx, job, expiration);
  if (progress === "done" || progress === "handed on") deleteJob(tx, id);
  else if (after !== job.after || done > 0 || job.startedSeconds === undefined)
    putJob(
      tx,
      {
        ...job,
        ...(after !== undefined && { after }),
        done: (job.done ?? 0) + done,
        startedSeconds: job.startedSeconds ?? now,
        claim: { holder, untilSeconds: now + JOB_CLAIM_SECONDS },
      },
      id,
    );
  return progress === "more" || progress === "handed on" ? "more" : "rest";
}

interface Slice {
  readonly progress: Progress;
  readonly after?: string | undefined;
  /** Leases or records that it saw to, where more are left. */
  readonly done?: number;
}
const DONE: Slice = { progress: "done" };
const HANDED_ON: Slice = { progress: "handed on" };

async function sliceOf(tx: Transaction, job: RevocationJob, expiration: Expiration): Promise<Slice> {
  switch (job.kind) {
    case "token":
      return (await expiration.revokeToken(tx, job.target)) ? DONE : HANDED_ON;
    case "orphans":
      return (await orphanChildren(tx, job.target)) ? DONE : { progress: "more", done: REVOKE_BUDGET };
    case "expire": {
      const { after, done } = await expiration.expireSome(tx, job);
      return after === undefined ? DONE : { progress: "more", after, done };
    }
    case "force":
      return forced(await expiration.endSome(tx, job.target, { force: true }));
    case "mount":
      return clearMount(tx, job);
    case "data":
      return (await deleteBelow(tx, job.target)) ? DONE : { progress: "more", done: DATA_PAGE };
    case "namespace":
      return { progress: await removeNamespaceSlice(tx, job.target, expiration) };
  }
}

function forced(done: number): Slice {
  return done < PREFIX_BUDGET ? DONE : { progress: "more", done };
}

/** The data goes last: what a backend needs to end a lease is in it. */
async function clearMount(tx: Transaction, job: RevocationJob): Promise<Slice> {
  const mount = await readEndedMount(tx, job.target);
  if (!mount) return DONE;
  const ids = await leaseIdsBelow(tx, mount.path, LEASE_PAGE, job.after);
  let { after } = job;
  for (const id of ids) {
    const lease = await readLease(tx, id);
    // Goes on from here next time: the mount issues nothing any more, so nothing of it comes before.
    if (lease?.secret?.mountUuid === mount.uuid) return { progress: "waiting", after };
    after = id;
  }
  if (ids.length === LEASE_PAGE) return { progress: "more", after };
  // What it made outside and did not commit is undone first.
  if (await isAnyBelow(tx, intentPrefix(mount.uuid))) return { progress: "waiting", after };
  if (!(await deleteBelow(tx, mountStoragePrefix(mount)))) return { progress: "more", after, done: DATA_PAGE };
  forgetEndedMount(tx, mount.uuid);
  return DONE;
}
