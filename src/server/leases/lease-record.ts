// A lease: something that ends at a time. One record each, and beside it an index key in the order of expiry, so that
// nothing is loaded at unseal and the sweep reads only what is due.
//
//   core/lease/<lease id>                    LeaseRecord
//   core/expiry/<unix seconds, 12 digits>/<sha256 of the id, 32 hex digits>   { leaseId, namespace }
//   core/token-lease/<token hash>/<sha256 of the id>                          { leaseId, namespace }: leases that end with a token
//   core/irrevocable/<sha256 of the id>      { leaseId, namespace }: leases that nothing tries to end any more
//   core/token-dependents/<token hash>       written whenever a token gets a lease or a child, read by who ends it
import { createHash } from "node:crypto";
import { type Infer, jsonObject, number, object, oneOf, optional, string, withDefault } from "#common/schema.ts";
import { recordKind } from "../barrier/transaction.ts";
import { claimSchema } from "./claim.ts";

const leaseSchema = object({
  leaseId: string,
  /** "token": the life of a service token, whose own record rules; "secret": something a backend made. */
  kind: oneOf("token", "secret"),
  /** The request path that made it. */
  path: string,
  /** The token that it ends with; "" when there is none (any more). */
  tokenHash: string,
  issuedAtSeconds: number,
  expiresAtSeconds: number,
  lastRenewalSeconds: optional(number),
  /** Secrets only. */
  secret: optional(
    object({
      mountPath: string,
      mountUuid: string,
      kind: string,
      renewable: oneOf("yes", "no"),
      ttlSeconds: number,
      maxExpiresAtSeconds: number,
      internal: jsonObject,
    }),
  ),
  /** Failed attempts to end it, and what the last one said. */
  attempts: optional(number),
  lastError: optional(string),
  /** Somebody is ending it outside of the server, and until then nobody else is. `expiresAtSeconds` is the claim's. */
  claim: optional(claimSchema),
});
export type LeaseRecord = Infer<typeof leaseSchema>;
export const leaseKind = recordKind("lease", leaseSchema);

/** `namespace`: id of the one whose lease it is; left out for the root namespace. */
export const leaseReferenceKind = recordKind(
  "lease reference",
  object({ leaseId: string, namespace: withDefault(string, "") }),
);

/**
 * Lists are no part of a transaction's read set. Whoever gives a token something that ends with it writes this record
 * without reading it; whoever ends the token reads it before listing. So the two cannot miss each other, and tokens
 * that get much at once are not slowed down.
 */
export const dependentsKind = recordKind("mark of a token's dependents", object({}));
export function dependentsKey(tokenHash: string): string {
  return `core/token-dependents/${tokenHash}`;
}

export const LEASE_PREFIX = "core/lease/";
export const EXPIRY_PREFIX = "core/expiry/";

export function leaseKey(leaseId: string): string {
  return LEASE_PREFIX + leaseId;
}

export const IRREVOCABLE_PREFIX = "core/irrevocable/";

export function irrevocableKey(leaseId: string): string {
  return IRREVOCABLE_PREFIX + digest(leaseId);
}

/** Ending it failed so often that it stays, with its last error, until an administrator sees to it. */
export function isIrrevocable(lease: Pick<LeaseRecord, "attempts" | "expiresAtSeconds">): boolean {
  return lease.expiresAtSeconds === 0 && (lease.attempts ?? 0) > 0;
}

function digest(leaseId: string): string {
  return createHash("sha256").update(leaseId).digest("hex").slice(0, 32);
}

export function expiryKey(lease: Pick<LeaseRecord, "leaseId" | "expiresAtSeconds">): string {
  return `${expiryBucket(lease.expiresAtSeconds)}/${digest(lease.leaseId)}`;
}

/** All keys of leases that end before this second sort below it. */
export function expiryBucket(seconds: number): string {
  return EXPIRY_PREFIX + String(seconds).padStart(12, "0");
}

export function tokenLeasePrefix(tokenHash: string): string {
  return `core/token-lease/${tokenHash}/`;
}

export function tokenLeaseKey(lease: Pick<LeaseRecord, "leaseId" | "tokenHash">): string {
  return tokenLeasePrefix(lease.tokenHash) + digest(lease.leaseId);
}
