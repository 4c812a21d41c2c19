// Leases in storage. Every function works inside the caller's transaction; what makes a lease and its index keys
// belongs together and is written nowhere else.
import type { Transaction } from "../barrier/transaction.ts";
import {
  expiryKey,
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
  tx.write(leaseKind, leaseKey(lease.leaseId), lease);
  if (lease.expiresAtSeconds > 0) tx.write(leaseReferenceKind, expiryKey(lease), { leaseId: lease.leaseId });
  if (lease.kind === "secret") tx.write(leaseReferenceKind, tokenLeaseKey(lease), { leaseId: lease.leaseId });
}

/** Moves a lease to another expiry; other members may change with it. */
export function moveLease(tx: Transaction, before: LeaseRecord, after: LeaseRecord): void {
  if (before.expiresAtSeconds > 0) tx.delete(expiryKey(before));
  putLease(tx, after);
}

export function deleteLease(tx: Transaction, lease: LeaseRecord): void {
  tx.delete(leaseKey(lease.leaseId));
  if (lease.expiresAtSeconds > 0) tx.delete(expiryKey(lease));
  if (lease.kind === "secret") tx.delete(tokenLeaseKey(lease));
}

/** Ids of leases whose path begins with a prefix, at most `limit`. */
export async function leaseIdsBelow(tx: Transaction, prefix: string, limit: number): Promise<readonly string[]> {
  const from = leaseKey(prefix);
  const keys = await tx.scan({ from, to: `${from}\u{10ffff}`, limit });
  return keys.map((key) => key.slice(LEASE_PREFIX.length));
}

/** Ids of the secret leases that end with a token. */
export async function leaseIdsOfToken(tx: Transaction, tokenHash: string, limit: number): Promise<readonly string[]> {
  const prefix = tokenLeasePrefix(tokenHash);
  const ids: string[] = [];
  for (const name of await tx.list(prefix, { limit })) {
    const reference = await tx.read(leaseReferenceKind, prefix + name);
    if (reference) ids.push(reference.leaseId);
  }
  return ids;
}
