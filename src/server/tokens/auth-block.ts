// How a token that was just made or renewed is told to its client.
import type { AuthBlock, MfaRequirement } from "../framework/reply.ts";
import { normalizePolicyNames } from "../framework/token-parameters.ts";
import type { TokenRecord } from "./token-record.ts";

/** The `auth` block of a token as clients see it. */
export function authBlock(token: string, record: TokenRecord, identityPolicies: readonly string[] = []): AuthBlock {
  return {
    client_token: token,
    accessor: record.accessor,
    policies: normalizePolicyNames([...record.policies, ...identityPolicies]),
    token_policies: record.policies,
    ...(identityPolicies.length > 0 && { identity_policies: identityPolicies }),
    metadata: record.metadata ?? null,
    lease_duration: record.ttlSeconds,
    renewable: record.renewable,
    entity_id: record.entityId,
    token_type: record.type,
    orphan: record.parent === "",
    mfa_requirement: null,
    num_uses: record.numUses,
  };
}

/** The `auth` block of a login that has no token yet. */
export function authAwaitingMfa(requirement: MfaRequirement): AuthBlock {
  return {
    client_token: "",
    accessor: "",
    policies: [],
    token_policies: [],
    metadata: null,
    lease_duration: 0,
    renewable: false,
    entity_id: "",
    token_type: "",
    orphan: false,
    mfa_requirement: requirement,
    num_uses: 0,
  };
}
