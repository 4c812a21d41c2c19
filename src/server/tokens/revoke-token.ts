// Ending a service token with all that hangs on it: children and their children, leases, cubbyhole. The token itself
// and as much of its tree as fits one transaction end at once; the rest is left to jobs. Nothing here asks a backend
// anything, so a token can always be ended.
import type { Transaction } from "../barrier/transaction.ts";
import { dependentsKey, dependentsKind } from "../leases/lease-record.ts";
import { deleteLease, releaseLeasesOfToken } from "../leases/lease-store.ts";
import { putJob } from "../leases/revocation-job.ts";
import { mountStoragePrefix } from "../mounts/mount-record.ts";
import { findMount } from "../mounts/mount-table.ts";
import { accessorKey, childPrefix, type TokenRecord, tokenKey, tokenKind } from "./token-record.ts";
import { leaseOfToken, ownView, readToken } from "./token-store.ts";

/** Tokens, leases and cubbyhole entries that one transaction sees to. */
export const REVOKE_BUDGET = 500;

/**
 * Ends a token and its tree. The token may be gone already: then what hangs on it is ended. False when there is more
 * than fits one transaction: jobs are left for it.
 */
export async function revokeToken(tx: Transaction, hash: string, nowSeconds: number): Promise<boolean> {
  const todo = [hash];
  let left = REVOKE_BUDGET;
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (left <= 0) {
      putJob(tx, { kind: "token", target: next });
      continue;
    }
    const children = await detachChildren(tx, next, left);
    todo.push(...children);
    left -= 1 + (await endOne(tx, next, { nowSeconds, limit: left, more: children.length === left }));
  }
  return left > 0;
}

/** Ends a token and leaves its children alive as orphans. */
export async function revokeOrphaning(tx: Transaction, hash: string, nowSeconds: number): Promise<void> {
  await tx.read(dependentsKind, dependentsKey(hash));
  if (!(await orphanChildren(tx, hash))) putJob(tx, { kind: "orphans", target: hash });
  await endOne(tx, hash, { nowSeconds, limit: REVOKE_BUDGET, more: false });
}

/** Makes orphans of a slice of a token's children. True when there are no more. */
export async function orphanChildren(tx: Transaction, hash: string): Promise<boolean> {
  const children = await detachChildren(tx, hash, REVOKE_BUDGET);
  for (const child of children) {
    const record = await readToken(tx, child);
    if (record) tx.write(tokenKind, tokenKey(child), { ...record, parent: "" });
  }
  return children.length < REVOKE_BUDGET;
}

async function detachChildren(tx: Transaction, hash: string, limit: number): Promise<readonly string[]> {
  await tx.read(dependentsKind, dependentsKey(hash));
  const prefix = childPrefix(hash);
  const names = await tx.list(prefix, { limit });
  for (const name of names) tx.delete(prefix + name);
  return names;
}

/** The token itself, its leases, its cubbyhole. Answers how many items it saw to; `more`: children are left. */
async function endOne(
  tx: Transaction,
  hash: string,
  { nowSeconds, limit, more }: { nowSeconds: number; limit: number; more: boolean },
): Promise<number> {
  const leases = await releaseLeasesOfToken(tx, hash, limit, nowSeconds);
  if (more || leases === limit) putJob(tx, { kind: "token", target: hash });
  const token = await readToken(tx, hash);
  if (!token) return leases;
  removeToken(tx, token);
  return leases + (await emptyCubbyhole(tx, token, limit));
}

function removeToken(tx: Transaction, token: TokenRecord): void {
  tx.delete(tokenKey(token.hash));
  ownView(tx, token).delete(accessorKey(token.accessor));
  tx.delete(dependentsKey(token.hash));
  if (token.parent !== "") tx.delete(childPrefix(token.parent) + token.hash);
  if (token.expiresAtSeconds > 0) deleteLease(ownView(tx, token), leaseOfToken(token));
}

async function emptyCubbyhole(tx: Transaction, token: TokenRecord, limit: number): Promise<number> {
  // The cubbyholes of all namespaces are in one place.
  const mount = await findMount(ownView(tx, token), "cubbyhole/");
  if (!mount) return 0;
  const from = `${mountStoragePrefix(mount)}${token.cubbyholeId}/`;
  const keys = await tx.scan({ from, to: `${from}\u{10ffff}`, limit });
  for (const key of keys) tx.delete(key);
  if (keys.length === limit) putJob(tx, { kind: "data", target: from });
  return keys.length;
}
