// What subscribers are told of leases: that one was issued, renewed, ended. A token's own life is none of these.
import type { BackendEvent } from "../framework/event.ts";
import type { LeaseRecord } from "./lease-record.ts";

/** About the path that issued the lease, below its mount. Undefined for the lease of a token. */
export function leaseEvent(what: "create" | "renew" | "revoke", lease: LeaseRecord): BackendEvent | undefined {
  const { secret } = lease;
  if (!secret) return undefined;
  const path = lease.path.slice(secret.mountPath.length);
  const expiry = new Date(lease.expiresAtSeconds * 1000).toISOString();
  return {
    type: `lease/${what}`,
    path,
    dataPath: path,
    metadata: { lease_id: lease.leaseId, ...(what !== "revoke" && { expire_time: expiry }) },
  };
}
