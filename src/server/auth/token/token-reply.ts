// How a token's record is shown by the lookups.
import type { JsonObject } from "#common/json.ts";
import type { TokenRecord } from "../../tokens/token-record.ts";

/** `shownId`: the token itself where the caller has it, "" where it was found by its accessor. */
export function lookupReply(record: TokenRecord, shownId: string, nowSeconds: number): JsonObject {
  return {
    accessor: record.accessor,
    creation_time: record.issuedAtSeconds,
    creation_ttl: record.ttlSeconds,
    display_name: record.displayName,
    entity_id: record.entityId,
    expire_time: record.expiresAtSeconds === 0 ? null : rfc3339(record.expiresAtSeconds),
    explicit_max_ttl: record.explicitMaxTtlSeconds,
    id: shownId,
    issue_time: rfc3339(record.issuedAtSeconds),
    meta: record.metadata ?? null,
    num_uses: Math.max(record.numUses, 0),
    orphan: record.parent === "",
    path: record.path,
    policies: record.policies,
    renewable: record.renewable,
    ttl: record.expiresAtSeconds === 0 ? 0 : record.expiresAtSeconds - nowSeconds,
    type: record.type,
    ...(record.lastRenewalSeconds !== undefined && {
      last_renewal: rfc3339(record.lastRenewalSeconds),
      last_renewal_time: record.lastRenewalSeconds,
    }),
    ...(record.periodSeconds > 0 && { period: record.periodSeconds }),
    ...(record.role !== "" && { role: record.role }),
    ...(record.boundCidrs.length > 0 && { bound_cidrs: record.boundCidrs }),
    ...(record.boundaries.length > 0 && { boundary_policies: record.boundaries.flat() }),
  };
}

export function rfc3339(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}
