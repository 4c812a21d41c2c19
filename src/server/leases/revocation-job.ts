// Work too large for one request, kept until it is done: it survives restarts, and any node may do a slice of it. A
// slice deletes the job in its own commit when nothing is left, so two nodes at once only meet as a conflict.
//
//   core/job/<id>   { kind, target, force }
import { randomUUID } from "node:crypto";
import { boolean, type Infer, object, oneOf, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";

const jobSchema = object({
  /** "token": a tree of tokens by its root's hash; "prefix": leases by prefix; "data": records of a mount that is gone. */
  kind: oneOf("token", "prefix", "data"),
  target: string,
  force: boolean,
});
export type RevocationJob = Infer<typeof jobSchema>;
const jobKind = recordKind("revocation job", jobSchema);
const JOB_PREFIX = "core/job/";
const JOBS_PAGE = 100;

export function putJob(tx: Transaction, job: RevocationJob): void {
  tx.write(jobKind, JOB_PREFIX + randomUUID(), job);
}

export function readJob(tx: Transaction, id: string): Promise<RevocationJob | undefined> {
  return tx.read(jobKind, JOB_PREFIX + id);
}

export function deleteJob(tx: Transaction, id: string): void {
  tx.delete(JOB_PREFIX + id);
}

export function listJobs(tx: Transaction): Promise<readonly string[]> {
  return tx.list(JOB_PREFIX, { limit: JOBS_PAGE });
}
