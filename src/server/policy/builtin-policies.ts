// Policies that are there without being written. "default" can be overwritten, not deleted; the others are fixed.
import { ROOT_POLICY } from "./acl.ts";

export const DEFAULT_POLICY = "default";
/** What a wrapping token may do. Given by the server alone, so lists leave it out. */
export const WRAPPING_POLICY = "response-wrapping";

/** Nobody writes or deletes these. */
export const IMMUTABLE_POLICIES: readonly string[] = [ROOT_POLICY, WRAPPING_POLICY];
/** Roles and tokens cannot ask for these. */
export const NON_ASSIGNABLE_POLICIES: readonly string[] = [WRAPPING_POLICY];

/** Every token has this policy unless it is asked to go without. */
export const DEFAULT_POLICY_TEXT = `# What any token may do with itself. Every token gets this policy unless it is made without it.
# It can be changed; it cannot be deleted.

# Look at, renew and give up the own token, and ask what it may do.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# See the own identity.
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}
path "identity/entity/name/{{identity.entity.name}}" {
  capabilities = ["read"]
}

# Leases: whoever knows a lease's id may look it up and renew it.
path "sys/renew" {
  capabilities = ["update"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
}
path "sys/leases/lookup" {
  capabilities = ["update"]
}

# The token's own storage, which goes away with it.
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Response wrapping.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
path "sys/wrapping/lookup" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}

# Tools that read nothing of the server.
path "sys/tools/hash" {
  capabilities = ["update"]
}
path "sys/tools/hash/*" {
  capabilities = ["update"]
}

# See how far the own request for approval is.
path "sys/control-group/request" {
  capabilities = ["update"]
}

# Sign in to applications as this identity.
path "identity/oidc/provider/+/authorize" {
  capabilities = ["read", "update"]
}
`;

export const WRAPPING_POLICY_TEXT = `path "cubbyhole/response" {
  capabilities = ["create", "read"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
`;

/** Text by name; what is stored under the name comes before it, except for the immutable ones. */
export const BUILTIN_TEXTS: ReadonlyMap<string, string> = new Map([
  [ROOT_POLICY, ""],
  [WRAPPING_POLICY, WRAPPING_POLICY_TEXT],
  [DEFAULT_POLICY, DEFAULT_POLICY_TEXT],
]);
