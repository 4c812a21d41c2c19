// Service tokens in storage: create, find, change; how they end is in revoke-token.ts. Works inside the caller's
// transaction. What a token may do is decided elsewhere; this file only keeps the record, its index keys and its lease
// together.
import type { Transaction } from "../barrier/transaction.ts";
import { dependentsKey, dependentsKind, type LeaseRecord } from "../leases/lease-record.ts";
import { moveLease, putLease } from "../leases/lease-store.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import {
  accessorKey,
  childPrefix,
  type TokenRecord,
  tokenKey,
  tokenKind,
  tokenLeaseId,
  tokenReferenceKind,
} from "./token-record.ts";

export function readToken(tx: Transaction, hash: string): Promise<TokenRecord | undefined> {
  return tx.read(tokenKind, tokenKey(hash));
}

export async function readTokenByAccessor(tx: Transaction, accessor: string): Promise<TokenRecord | undefined> {
  const reference = await tx.read(tokenReferenceKind, accessorKey(accessor));
  return reference && readToken(tx, reference.hash);
}

/** The namespace's part of the storage: where a token's accessor and its lease are. */
export function ownView(tx: Transaction, token: Pick<TokenRecord, "namespace">): Transaction {
  return namespaceView(tx, token.namespace);
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
  const own = ownView(tx, token);
  tx.write(tokenKind, tokenKey(token.hash), token);
  own.write(tokenReferenceKind, accessorKey(token.accessor), { hash: token.hash });
  if (token.parent !== "") {
    tx.write(tokenReferenceKind, childPrefix(token.parent) + token.hash, { hash: token.hash });
    tx.write(dependentsKind, dependentsKey(token.parent), {});
  }
  if (token.expiresAtSeconds > 0) putLease(own, leaseOfToken(token));
}

/** Replaces the record of a token that exists. Its expiry may have moved. */
export function updateToken(tx: Transaction, before: TokenRecord, after: TokenRecord): void {
  tx.write(tokenKind, tokenKey(after.hash), after);
  if (before.expiresAtSeconds !== after.expiresAtSeconds)
    moveLease(ownView(tx, after), leaseOfToken(before), leaseOfToken(after));
}

/** Lets a token end now; what hangs on it is seen to by the sweep. */
export function expireToken(tx: Transaction, token: TokenRecord, nowSeconds: number): void {
  updateToken(tx, token, { ...token, expiresAtSeconds: nowSeconds });
}
