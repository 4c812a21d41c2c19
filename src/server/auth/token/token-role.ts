// Token roles: named recipes for tokens, and which policies they may carry. Records in the mount's own storage.
import { assertBlocks } from "#common/cidr.ts";
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
import { recordKind, type StorageView } from "../../barrier/transaction.ts";
import { field, policyNames, type Values } from "../../framework/fields.ts";
import { normalizePolicyNames } from "../../framework/token-parameters.ts";
import { DEFAULT_POLICY } from "../../policy/builtin-policies.ts";

const roleSchema = object({
  name: string,
  allowedPolicies: list(string),
  allowedPoliciesGlob: list(string),
  disallowedPolicies: list(string),
  disallowedPoliciesGlob: list(string),
  allowedEntityAliases: recordDefault(list(string), []),
  orphan: boolean,
  renewable: boolean,
  pathSuffix: string,
  explicitMaxTtlSeconds: number,
  periodSeconds: number,
  boundCidrs: list(string),
  type: oneOf("default-service", "default-batch", "service", "batch"),
  strictlyBindIp: recordDefault(boolean, false),
  noDefaultPolicy: boolean,
  numUses: number,
  boundaryPolicies: recordDefault(list(string), []),
});
export type TokenRole = Infer<typeof roleSchema>;
const roleKind = recordKind("token role", roleSchema, { cached: true });

export const roleFields = {
  allowed_policies: field.list("Policies that tokens of this role may have.", policyNames),
  allowed_policies_glob: field.list("Patterns of such policies.", policyNames),
  disallowed_policies: field.list("Policies that they may not have.", policyNames),
  disallowed_policies_glob: field.list("Patterns of such policies.", policyNames),
  allowed_entity_aliases: field.list("Entity aliases that may be asked for."),
  orphan: field.flag("Tokens of this role have no parent."),
  renewable: field.flag("Tokens of this role may be renewed."),
  path_suffix: field.text("Added to the path that the tokens carry."),
  explicit_max_ttl: field.seconds("The old name of token_explicit_max_ttl.", { deprecated: true }),
  period: field.seconds("The old name of token_period.", { deprecated: true }),
  token_explicit_max_ttl: field.seconds("A hard end of the token's life."),
  token_period: field.seconds("Makes periodic tokens."),
  token_bound_cidrs: field.list("Blocks of addresses the tokens may be used from."),
  token_strictly_bind_ip: field.flag("The tokens may be used from the address alone that asked for them."),
  bound_cidrs: field.list("The old name of token_bound_cidrs.", { deprecated: true }),
  token_type: field.text("service, batch, default-service or default-batch."),
  token_no_default_policy: field.flag("Leave out the default policy."),
  token_num_uses: field.integer("How often the tokens may be used."),
  token_boundary_policies: field.list("Permission boundary: what the token may do is its policies and these, both."),
} as const;

const EMPTY: TokenRole = {
  name: "",
  allowedPolicies: [],
  allowedPoliciesGlob: [],
  disallowedPolicies: [],
  disallowedPoliciesGlob: [],
  allowedEntityAliases: [],
  orphan: false,
  renewable: true,
  pathSuffix: "",
  explicitMaxTtlSeconds: 0,
  periodSeconds: 0,
  boundCidrs: [],
  strictlyBindIp: false,
  type: "default-service",
  noDefaultPolicy: false,
  numUses: 0,
  boundaryPolicies: [],
};

export function readTokenRole(storage: StorageView, name: string): Promise<TokenRole | undefined> {
  return storage.read(roleKind, `role/${name}`);
}

/** Lays what was sent over what was there. Throws `invalid_request` for combinations that make no sense. */
export async function writeTokenRole(
  storage: StorageView,
  name: string,
  sent: Values<typeof roleFields>,
): Promise<TokenRole> {
  const before = (await readTokenRole(storage, name)) ?? EMPTY;
  const suffix = sent.path_suffix ?? before.pathSuffix;
  if (suffix !== "" && !/^\w[\w\-.]+\w$/.test(suffix)) {
    throw new CofferError(
      "invalid_request",
      "given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w",
    );
  }
  const role: TokenRole = {
    name,
    allowedPolicies: sent.allowed_policies ? normalizePolicyNames(sent.allowed_policies) : before.allowedPolicies,
    allowedPoliciesGlob: sent.allowed_policies_glob ?? before.allowedPoliciesGlob,
    disallowedPolicies: sent.disallowed_policies
      ? normalizePolicyNames(sent.disallowed_policies)
      : before.disallowedPolicies,
    disallowedPoliciesGlob: sent.disallowed_policies_glob ?? before.disallowedPoliciesGlob,
    allowedEntityAliases: sent.allowed_entity_aliases ?? before.allowedEntityAliases,
    orphan: sent.orphan ?? before.orphan,
    renewable: sent.renewable ?? before.renewable,
    pathSuffix: suffix,
    explicitMaxTtlSeconds: sent.token_explicit_max_ttl ?? sent.explicit_max_ttl ?? before.explicitMaxTtlSeconds,
    periodSeconds: sent.token_period ?? sent.period ?? before.periodSeconds,
    boundCidrs: sent.token_bound_cidrs ?? sent.bound_cidrs ?? before.boundCidrs,
    strictlyBindIp: sent.token_strictly_bind_ip ?? before.strictlyBindIp,
    type: roleType(sent.token_type, before.type),
    noDefaultPolicy: sent.token_no_default_policy ?? before.noDefaultPolicy,
    numUses: sent.token_num_uses ?? before.numUses,
    boundaryPolicies: normalizePolicyNames(sent.token_boundary_policies ?? before.boundaryPolicies),
  };
  assertRole(role);
  storage.write(roleKind, `role/${name}`, role);
  return role;
}

function assertRole(role: TokenRole): void {
  const wrong = (message: string): never => {
    throw new CofferError("invalid_request", message);
  };
  if (role.pathSuffix.includes("..")) wrong("error registering path suffix: path cannot contain parent references");
  assertBlocks("token_bound_cidrs", role.boundCidrs);
  if (role.periodSeconds < 0) wrong("'token_period' cannot be negative");
  if (role.explicitMaxTtlSeconds < 0) wrong("'token_explicit_max_ttl' cannot be negative");
  if (role.numUses < 0) wrong("'token_num_uses' cannot be negative");
  if (role.type !== "batch") return;
  const cannot = (what: string) => wrong(`'token_type' cannot be 'batch' when role is set to generate ${what}`);
  if (!role.orphan) cannot("non-orphan tokens");
  if (role.periodSeconds > 0) cannot("periodic tokens");
  if (role.renewable) cannot("renewable tokens");
  if (role.explicitMaxTtlSeconds > 0) cannot("tokens with an explicit max TTL");
  if (role.numUses > 0) cannot("tokens with limited use count");
}

function roleType(sent: string | undefined, before: TokenRole["type"]): TokenRole["type"] {
  if (sent === undefined || sent === "" || sent === "default") return before;
  if (sent === "service" || sent === "batch" || sent === "default-service" || sent === "default-batch") return sent;
  throw new CofferError("invalid_request", `invalid 'token_type' value "${sent}"`);
}

export function tokenRoleReply(role: TokenRole): JsonObject {
  return {
    name: role.name,
    allowed_policies: role.allowedPolicies,
    allowed_policies_glob: role.allowedPoliciesGlob,
    disallowed_policies: role.disallowedPolicies,
    disallowed_policies_glob: role.disallowedPoliciesGlob,
    allowed_entity_aliases: role.allowedEntityAliases.length > 0 ? role.allowedEntityAliases : null,
    orphan: role.orphan,
    renewable: role.renewable,
    path_suffix: role.pathSuffix,
    explicit_max_ttl: 0,
    period: 0,
    token_explicit_max_ttl: role.explicitMaxTtlSeconds,
    token_period: role.periodSeconds,
    token_type: role.type,
    token_no_default_policy: role.noDefaultPolicy,
    token_strictly_bind_ip: role.strictlyBindIp,
    ...(role.numUses > 0 && { token_num_uses: role.numUses }),
    ...(role.boundCidrs.length > 0 && { token_bound_cidrs: role.boundCidrs }),
    ...(role.boundaryPolicies.length > 0 && { token_boundary_policies: role.boundaryPolicies }),
  };
}

/**
 * The policies a token of this role gets by the role's own list. Throws `invalid_request` for those that are not on it.
 * Whether it may be root is not the role's to say.
 */
export function policiesOfRole(role: TokenRole, asked: readonly string[], addDefault: boolean): readonly string[] {
  const complete = (names: readonly string[]) =>
    normalizePolicyNames([...names, ...(addDefault ? [DEFAULT_POLICY] : [])]);
  const allowed = complete(role.allowedPolicies);
  if (asked.length === 0) return allowed;
  const wanted = complete(asked);
  const fits = (name: string) =>
    allowed.includes(name) || role.allowedPoliciesGlob.some((glob) => matchesGlob(glob, name));
  if (wanted.every(fits)) return wanted;
  throw new CofferError(
    "invalid_request",
    `token policies (${goList(wanted)}) must be subset of the role's allowed policies (${goList(allowed)}) or glob policies (${goList(role.allowedPoliciesGlob)})`,
  );
}

export function isDisallowed(role: TokenRole, name: string): boolean {
  return role.disallowedPolicies.includes(name) || role.disallowedPoliciesGlob.some((glob) => matchesGlob(glob, name));
}

/** Whether tokens of this role may be given the entity of this alias. The case of letters makes no difference. */
export function allowsEntityAlias(role: TokenRole, name: string): boolean {
  const asked = name.toLowerCase();
  return role.allowedEntityAliases.some((glob) => matchesGlob(glob.toLowerCase(), asked));
}

function matchesGlob(glob: string, name: string): boolean {
  const parts = glob.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s").test(name);
}

function goList(names: readonly string[]): string {
  return `[${names.map((name) => JSON.stringify(name)).join(" ")}]`;
}
