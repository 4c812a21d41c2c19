// Service tokens in storage: create, find, end. Works inside the caller's transaction. What a token may do is decided
// elsewhere; this file only keeps the record, its index keys and its lease together.
import type { Transaction } from "../barrier/transaction.ts";
import type { LeaseRecord } from "../leases/lease-record.ts";
import { deleteLease, leaseIdsOfToken, moveLease, putLease } from "../leases/lease-store.ts";
import { mountStoragePrefix } from "../mounts/mount-record.ts";
import { findMount } from "../mounts/mount-table.ts";
import {
  accessorKey,
  childPrefix,
  type TokenRecord,
  tokenKey,
  tokenKind,
  tokenLeaseId,
  tokenReferenceKind,
} from "./token-record.ts";

/** Tokens, leases and cubbyhole entries that one transaction ends; what is left over goes to a background job. */
export const REVOKE_BUDGET = 500;

export function readToken(tx: Transaction, hash: string): Promise<TokenRecord | undefined> {
  return tx.read(tokenKind, tokenKey(hash));
}

export async function readTokenByAccessor(tx: Transaction, accessor: string): Promise<TokenRecord | undefined> {
  const reference = await tx.read(tokenReferenceKind, accessorKey(accessor));
  return reference && readToken(tx, reference.hash);
}

/** The lease that stands for a service token's life. */
export function leaseOfToken(token: TokenRecord): LeaseRecord {
  return {
    leaseId: tokenLeaseId(token),
    kind: "token",
    path: token.path,
    tokenHash: token.hash,
    issuedAtSeconds: token.issuedAtSeconds,
    expiresAtSeconds: token.expiresAtSeconds,
    ...(token.lastRenewalSeconds !== undefined && { lastRenewalSeconds: token.lastRenewalSeconds }),
  };
}

export function putToken(tx: Transaction, token: TokenRecord): void {
  tx.write(tokenKind, tokenKey(token.hash), token);
  tx.write(tokenReferenceKind, accessorKey(token.accessor), { hash: token.hash });
  if (token.parent !== "") tx.write(tokenReferenceKind, childPrefix(token.parent) + token.hash, { hash: token.hash });
  if (token.expiresAtSeconds > 0) putLease(tx, leaseOfToken(token));
}

/** Replaces the record of a token that exists. Its expiry may have moved. */
export function updateToken(tx: Transaction, before: TokenRecord, after: TokenRecord): void {
  tx.write(tokenKind, tokenKey(after.hash), after);
  if (before.expiresAtSeconds !== after.expiresAtSeconds) moveLease(tx, leaseOfToken(before), leaseOfToken(after));
}

/** Makes the children of a token orphans: they outlive it. */
export async function orphanChildren(tx: Transaction, hash: string): Promise<void> {
  for (const child of await childrenOf(tx, hash, REVOKE_BUDGET)) {
    tx.write(tokenKind, tokenKey(child.hash), { ...child, parent: "" });
    tx.delete(childPrefix(hash) + child.hash);
  }
}

async function childrenOf(tx: Transaction, hash: string, limit: number): Promise<readonly TokenRecord[]> {
  const prefix = childPrefix(hash);
  const names = await tx.list(prefix, { limit });
  const children: TokenRecord[] = [];
  for (const name of names) {
    const child = await readToken(tx, name);
    if (child) children.push(child);
    else tx.delete(prefix + name);
  }
  return children;
}

export interface RevokeDependencies {
  /** Ends a secret's lease through the backend that made it. */
  endLease(tx: Transaction, leaseId: string): Promise<void>;
}

/**
 * Ends a token with all that hangs on it: children, leases, cubbyhole. Does at most `budget` items and returns false
 * when something is left; the token's record goes last, so that a second call finds the rest.
 */
export async function revokeTokenTree(
  tx: Transaction,
  hash: string,
  dependencies: RevokeDependencies,
  budget = { left: REVOKE_BUDGET },
): Promise<boolean> {
  const token = await readToken(tx, hash);
  if (!token) return true;
  for (const child of await childrenOf(tx, hash, budget.left)) {
    if (budget.left <= 0 || !(await revokeTokenTree(tx, child.hash, dependencies, budget))) return false;
  }
  for (const leaseId of await leaseIdsOfToken(tx, hash, Math.max(budget.left, 1))) {
    if (budget.left-- <= 0) return false;
    await dependencies.endLease(tx, leaseId);
  }
  if (!(await emptyCubbyhole(tx, token, budget))) return false;
  removeToken(tx, token);
  return budget.left-- > 0;
}

async function emptyCubbyhole(tx: Transaction, token: TokenRecord, budget: { left: number }): Promise<boolean> {
  const mount = await findMount(tx, "cubbyhole/");
  if (!mount) return true;
  const from = `${mountStoragePrefix(mount)}${token.cubbyholeId}/`;
  const limit = Math.max(budget.left, 1);
  const keys = await tx.scan({ from, to: `${from}\u{10ffff}`, limit });
  for (const key of keys) tx.delete(key);
  budget.left -= keys.length;
  return keys.length < limit;
}

function removeToken(tx: Transaction, token: TokenRecord): void {
  tx.delete(tokenKey(token.hash));
  tx.delete(accessorKey(token.accessor));
  if (token.parent !== "") tx.delete(childPrefix(token.parent) + token.hash);
  if (token.expiresAtSeconds > 0) deleteLease(tx, leaseOfToken(token));
}
