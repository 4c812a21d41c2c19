// The token fields that every role of every auth method has, with their old names, their record and their answer.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import {
  boolean,
  type Infer,
  list,
  number,
  object,
  oneOf,
  withDefault as recordDefault,
  string,
} from "#common/schema.ts";
import { field, policyNames, type Values } from "./fields.ts";
import type { TokenParameters } from "./reply.ts";

export const tokenFields = {
  token_ttl: field.seconds("The initial TTL of the token to issue."),
  token_max_ttl: field.seconds("The TTL no renewal goes beyond."),
  token_policies: field.list("Policies of the token.", policyNames),
  token_bound_cidrs: field.list("Blocks of addresses the token may be used from."),
  token_explicit_max_ttl: field.seconds("A hard end of the token's life, renewals and periods included."),
  token_no_default_policy: field.flag("Leave out the default policy."),
  token_num_uses: field.integer("How often the token may be used; 0 is without limit."),
  token_period: field.seconds("Makes a periodic token, renewable for ever by this period."),
  token_type: field.text("service, batch, default, default-service or default-batch."),
  token_strictly_bind_ip: field.flag("The token may be used from the login's own address alone."),
  token_boundary_policies: field.list(
    "Permission boundary: what the token may do is its policies and these, both.",
    policyNames,
  ),
} as const;

const tokenType = oneOf("default", "service", "batch", "default-service", "default-batch");

export const tokenParametersSchema = object({
  ttlSeconds: number,
  maxTtlSeconds: number,
  explicitMaxTtlSeconds: number,
  periodSeconds: number,
  numUses: number,
  type: tokenType,
  noDefaultPolicy: boolean,
  boundCidrs: list(string),
  strictlyBindIp: recordDefault(boolean, false),
  boundaryPolicies: recordDefault(list(string), []),
  policies: list(string),
});
/** A role's token parameters and the policies it gives. */
export type RoleTokenParameters = Infer<typeof tokenParametersSchema> & TokenParameters;

export const noTokenParameters: RoleTokenParameters = {
  ttlSeconds: 0,
  maxTtlSeconds: 0,
  explicitMaxTtlSeconds: 0,
  periodSeconds: 0,
  numUses: 0,
  type: "default",
  noDefaultPolicy: false,
  boundCidrs: [],
  strictlyBindIp: false,
  boundaryPolicies: [],
  policies: [],
};

/** Lays what the client sent over what the role had. Throws `invalid_request` for combinations that make no sense. */
export function mergeTokenParameters(
  values: Values<typeof tokenFields>,
  before: RoleTokenParameters,
): RoleTokenParameters {
  const merged: RoleTokenParameters = {
    ttlSeconds: values.token_ttl ?? before.ttlSeconds,
    maxTtlSeconds: values.token_max_ttl ?? before.maxTtlSeconds,
    explicitMaxTtlSeconds: values.token_explicit_max_ttl ?? before.explicitMaxTtlSeconds,
    periodSeconds: values.token_period ?? before.periodSeconds,
    numUses: values.token_num_uses ?? before.numUses,
    type: values.token_type === undefined ? before.type : parseTokenType(values.token_type),
    noDefaultPolicy: values.token_no_default_policy ?? before.noDefaultPolicy,
    boundCidrs: values.token_bound_cidrs ?? before.boundCidrs,
    strictlyBindIp: values.token_strictly_bind_ip ?? before.strictlyBindIp,
    boundaryPolicies: normalizePolicyNames(values.token_boundary_policies ?? before.boundaryPolicies),
    policies: distinctNames(values.token_policies ?? before.policies),
  };
  assertSensible(merged);
  return merged;
}

function parseTokenType(text: string): TokenParameters["type"] {
  if (text === "") return "default";
  try {
    return tokenType.parse(text, "token_type");
  } catch {
    throw new CofferError("invalid_request", `invalid 'token_type' value "${text}"`);
  }
}

function assertSensible(merged: RoleTokenParameters): void {
  const wrong = (message: string): never => {
    throw new CofferError("invalid_request", message);
  };
  if (merged.ttlSeconds < 0) wrong("'token_ttl' cannot be negative");
  if (merged.maxTtlSeconds < 0) wrong("'token_max_ttl' cannot be negative");
  if (merged.periodSeconds < 0) wrong("'token_period' cannot be negative");
  if (merged.explicitMaxTtlSeconds < 0) wrong("'token_explicit_max_ttl' cannot be negative");
  if (merged.numUses < 0) wrong("'token_num_uses' cannot be negative");
  if (merged.maxTtlSeconds > 0 && merged.ttlSeconds > merged.maxTtlSeconds)
    wrong("'token_ttl' cannot be greater than 'token_max_ttl'");
  if (merged.type === "batch" && merged.periodSeconds > 0)
    wrong("'token_type' cannot be 'batch' when 'token_period' is set");
  if (merged.type === "batch" && merged.numUses > 0)
    wrong("'token_type' cannot be 'batch' when 'token_num_uses' is set");
}

/** Policy names in their stored form: trimmed, lower case, sorted, each once. */
export function normalizePolicyNames(names: readonly string[]): readonly string[] {
  return distinctNames(names).toSorted();
}

/** The same in the order in which they were sent: a role shows its policies as they were written. */
function distinctNames(names: readonly string[]): readonly string[] {
  return [...new Set(names.map((name) => name.trim().toLowerCase()).filter((name) => name !== ""))];
}

/** A role's token fields as a read answers them. */
export function tokenParametersReply(parameters: RoleTokenParameters): JsonObject {
  return {
    token_bound_cidrs: parameters.boundCidrs,
    token_explicit_max_ttl: parameters.explicitMaxTtlSeconds,
    token_max_ttl: parameters.maxTtlSeconds,
    token_no_default_policy: parameters.noDefaultPolicy,
    token_num_uses: parameters.numUses,
    token_period: parameters.periodSeconds,
    token_strictly_bind_ip: parameters.strictlyBindIp,
    token_policies: parameters.policies,
    token_ttl: parameters.ttlSeconds,
    token_type: parameters.type,
    ...(parameters.boundaryPolicies.length > 0 && { token_boundary_policies: parameters.boundaryPolicies }),
  };
}
