// Work too large for one request, kept until it is done: it survives restarts, and any node may do a slice of it. A
// slice changes or deletes the job in its own commit, so two nodes at once only meet as a conflict. What a slice of
// each kind is: job-runner.ts.
//
//   core/job/<id>   { kind, target, namespace, after?, beforeSeconds?, done?, startedSeconds?, claim? }
import { randomUUID } from "node:crypto";
import { type Infer, number, object, oneOf, optional, string, withDefault } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import { namespaceIdOf } from "../namespaces/namespace-transaction.ts";
import { claimSchema } from "./claim.ts";

const jobSchema = object({
  /**
   * What is left to do, and what `target` is.
   *
   * - "token": end what hangs on a token that is gone, by its hash
   * - "orphans": make orphans of the children of a token that is gone, by its hash
   * - "expire": let every lease end now whose id begins with a prefix
   * - "force": end them without asking what their backend says
   * - "mount": wait until the leases of a disabled mount have ended, then delete its data; by the mount's uuid
   * - "data": delete every record below a storage prefix
   * - "namespace": delete a namespace with all that is in it, by its path
   */
  kind: oneOf("token", "orphans", "expire", "force", "mount", "data", "namespace"),
  target: string,
  /** Id of the namespace in which it is to be done; "" for the root namespace. */
  namespace: withDefault(string, ""),
  /** The last lease id that was seen to. */
  after: optional(string),
  /** "expire": leases that were issued later stay. They may be of a new mount at the old path. */
  beforeSeconds: optional(number),
  /** How many leases or records it has seen to; for an administrator to look at. */
  done: optional(number),
  /** When its first slice was done. */
  startedSeconds: optional(number),
  /** The node that is at it. */
  claim: optional(claimSchema),
});
export type RevocationJob = Infer<typeof jobSchema>;
const jobKind = recordKind("revocation job", jobSchema);
const JOB_PREFIX = "core/job/";
const JOBS_PAGE = 100;

/** Leaves work for the background, to be done in the namespace that the transaction is the view of. */
export function putJob(tx: Transaction, job: Omit<RevocationJob, "namespace">, id: string = randomUUID()): void {
  tx.write(jobKind, JOB_PREFIX + id, { ...job, namespace: namespaceIdOf(tx) });
}

export function readJob(tx: Transaction, id: string): Promise<RevocationJob | undefined> {
  return tx.read(jobKind, JOB_PREFIX + id);
}

export function deleteJob(tx: Transaction, id: string): void {
  tx.delete(JOB_PREFIX + id);
}

export function listJobs(tx: Transaction, after?: string): Promise<readonly string[]> {
  return tx.list(JOB_PREFIX, { limit: JOBS_PAGE, ...(after !== undefined && { after }) });
}
