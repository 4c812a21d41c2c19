// Leases in storage. Every function works inside the caller's transaction; what makes a lease and its index keys
// belongs together and is written nowhere else.
import type { Transaction } from "../barrier/transaction.ts";
import { namespaceIdOf, namespaceView } from "../namespaces/namespace-transaction.ts";
import {
  dependentsKey,
  dependentsKind,
  expiryKey,
  IRREVOCABLE_PREFIX,
  irrevocableKey,
  isIrrevocable,
  LEASE_PREFIX,
  type LeaseRecord,
  leaseKey,
  leaseKind,
  leaseReferenceKind,
  tokenLeaseKey,
  tokenLeasePrefix,
} from "./lease-record.ts";

export function readLease(tx: Transaction, leaseId: string): Promise<LeaseRecord | undefined> {
  return tx.read(leaseKind, leaseKey(leaseId));
}

/** Writes a new lease and its index keys. A lease that never ends (0) is in no expiry index. */
export function putLease(tx: Transaction, lease: LeaseRecord): void {
  writeLease(tx, lease);
  if (endsWithToken(lease)) tx.write(dependentsKind, dependentsKey(lease.tokenHash), {});
}

function writeLease(tx: Transaction, lease: LeaseRecord): void {
  tx.write(leaseKind, leaseKey(lease.leaseId), lease);
  const reference = { leaseId: lease.leaseId, namespace: namespaceIdOf(tx) };
  if (lease.expiresAtSeconds > 0) tx.write(leaseReferenceKind, expiryKey(lease), reference);
  if (isIrrevocable(lease)) tx.write(leaseReferenceKind, irrevocableKey(lease.leaseId), reference);
  if (endsWithToken(lease)) tx.write(leaseReferenceKind, tokenLeaseKey(lease), reference);
}

/** A token's own lease is no dependent of it: it is the token. */
function endsWithToken(lease: LeaseRecord): boolean {
  return lease.kind === "secret" && lease.tokenHash !== "";
}

/** Moves a lease to another expiry; other members may change with it, but not what it is. */
export function moveLease(tx: Transaction, before: LeaseRecord, after: LeaseRecord): void {
  if (before.expiresAtSeconds > 0) tx.delete(expiryKey(before));
  if (isIrrevocable(before)) tx.delete(irrevocableKey(before.leaseId));
  if (endsWithToken(before)) tx.delete(tokenLeaseKey(before));
  writeLease(tx, after);
}

export function deleteLease(tx: Transaction, lease: LeaseRecord): void {
  tx.delete(leaseKey(lease.leaseId));
  if (lease.expiresAtSeconds > 0) tx.delete(expiryKey(lease));
  if (isIrrevocable(lease)) tx.delete(irrevocableKey(lease.leaseId));
  if (endsWithToken(lease)) tx.delete(tokenLeaseKey(lease));
}

/** A page of the namespace's irrevocable leases, and where the next one begins; undefined when there is none. */
export async function irrevocablePage(
  tx: Transaction,
  limit: number,
  after?: string,
): Promise<{ leases: readonly LeaseRecord[]; after: string | undefined }> {
  const names = await tx.list(IRREVOCABLE_PREFIX, { limit, ...(after !== undefined && { after }) });
  const leases: LeaseRecord[] = [];
  for (const name of names) {
    const reference = await tx.read(leaseReferenceKind, IRREVOCABLE_PREFIX + name);
    const lease = reference && (await readLease(tx, reference.leaseId));
    if (lease && isIrrevocable(lease)) leases.push(lease);
  }
  return { leases, after: names.length < limit ? undefined : names.at(-1) };
}

/** Ids of leases that begin with a prefix, after `after`, at most `limit`. */
export async function leaseIdsBelow(
  tx: Transaction,
  prefix: string,
  limit: number,
  after?: string,
): Promise<readonly string[]> {
  const from = leaseKey(prefix);
  const start = after === undefined ? from : `${leaseKey(after)}\0`;
  const keys = await tx.scan({ from: start, to: `${from}\u{10ffff}`, limit });
  return keys.map((key) => key.slice(LEASE_PREFIX.length));
}

/**
 * Lets up to `limit` leases of a token end now, each by the sweep in a transaction of its own: what a backend does to
 * end one may fail and must not keep the token alive. They no longer belong to the token. Answers their number.
 */
export async function releaseLeasesOfToken(
  tx: Transaction,
  tokenHash: string,
  limit: number,
  nowSeconds: number,
): Promise<number> {
  const prefix = tokenLeasePrefix(tokenHash);
  const names = await tx.list(prefix, { limit });
  for (const name of names) {
    const reference = await tx.read(leaseReferenceKind, prefix + name);
    const view = namespaceView(tx, reference?.namespace ?? "");
    const lease = reference && (await readLease(view, reference.leaseId));
    if (lease) moveLease(view, lease, { ...lease, tokenHash: "", expiresAtSeconds: dueAt(lease, nowSeconds) });
    tx.delete(prefix + name);
  }
  return names.length;
}

/** A lease that could not be ended stays with its back-off, or for an administrator to look at; a claim with its time. */
function dueAt(lease: LeaseRecord, nowSeconds: number): number {
  return (lease.attempts ?? 0) > 0 || lease.claim !== undefined
    ? lease.expiresAtSeconds
    : Math.min(lease.expiresAtSeconds, nowSeconds);
}
