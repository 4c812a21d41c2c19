// Making tokens from tokens: create, create-orphan, create/<role>. Rights never grow: a child has at most its parent's
// policies unless the caller has sudo on the path, and always its parent's boundaries.
import { CofferError } from "#common/errors.ts";
import type { NamespaceName, PrivilegedContext } from "../../framework/context.ts";
import { permissionDenied } from "../../framework/multi-error.ts";
import type { Reply } from "../../framework/reply.ts";
import { normalizePolicyNames } from "../../framework/token-parameters.ts";
import type { Identity } from "../../identity/identity.ts";
import { ROOT_POLICY } from "../../policy/acl.ts";
import { NON_ASSIGNABLE_POLICIES } from "../../policy/builtin-policies.ts";
import type { PolicyStore } from "../../policy/policy-store.ts";
import { authBlock } from "../../tokens/auth-block.ts";
import { inheritedLimits } from "../../tokens/token-address.ts";
import type { TokenRecord } from "../../tokens/token-record.ts";
import type { NewToken, TokenService } from "../../tokens/token-service.ts";
import { resolveTtl, shortest } from "../../tokens/token-ttl.ts";
import { assertCreatable, type CreateValues, secondsOf } from "./token-fields.ts";
import { allowsEntityAlias, policiesOfRole, type TokenRole } from "./token-role.ts";

export interface TokenCreation {
  readonly tokens: TokenService;
  readonly policies: PolicyStore;
  readonly identity: Identity;
}

export async function createToken(
  context: PrivilegedContext,
  values: CreateValues,
  services: TokenCreation,
  recipe: { orphan: boolean; role?: TokenRole },
): Promise<Reply> {
  const parent = await services.tokens.find(context.transaction, context.clientToken);
  if (!parent) throw permissionDenied();
  assertParent(parent);
  const { role } = recipe;
  const type = tokenType(values.type, role);
  const rights = assertFromHere(context, parent);
  const policies = role
    ? policiesOfRole(role, values.policies ?? [], rights.policies)
    : policiesOfChild(context, values, rights);
  assertAssignable(policies, parent, context.scope);
  assertCreatable(values, type);
  assertPrivileges(context, values, role);
  if (type === "batch" && policies.includes(ROOT_POLICY))
    throw new CofferError("invalid_request", "batch tokens cannot be root tokens");
  const { wanted, warnings } = describe(context, values, parent, { ...recipe, type, policies });
  const entityId = await entityOfAlias(context, values.entity_alias ?? "", services, role);
  const issued = await services.tokens.create(context.transaction, { ...wanted, ...(entityId !== "" && { entityId }) });
  return {
    auth: authBlock(issued.token, issued.record),
    warnings: [...warnings, ...(await missingPolicies(context, services, policies))],
  };
}

/**
 * Id of the entity that was asked for by an alias of the token mount; makes both when there is none. "" when none was
 * asked for. Throws `invalid_request` without a role that allows it.
 */
async function entityOfAlias(
  { transaction, mount }: PrivilegedContext,
  name: string,
  { identity }: TokenCreation,
  role: TokenRole | undefined,
): Promise<string> {
  if (name === "") return "";
  if (!role) throw new CofferError("invalid_request", "'entity_alias' is only allowed in combination with token role");
  if (!allowsEntityAlias(role, name)) throw new CofferError("invalid_request", "invalid 'entity_alias' value");
  const { accessor: mountAccessor, path: mountPath, type: mountType } = mount;
  return identity.entityForLogin(transaction, { mountAccessor, mountPath, mountType, name, metadata: {} });
}

function assertParent(parent: TokenRecord): void {
  if (parent.type === "batch") throw new CofferError("invalid_request", "batch tokens cannot create more tokens");
  if (parent.numUses !== 0)
    throw new CofferError("invalid_request", "restricted use token cannot generate child tokens");
}

/**
 * What a token of another namespace brings along when it makes one here: a policy's name means something else here, and
 * so does a boundary's, which therefore cannot be handed on. Throws `permission_denied` and `invalid_request`.
 */
function assertFromHere({ scope }: PrivilegedContext, parent: TokenRecord): Pick<TokenRecord, "policies"> {
  if (parent.namespace === scope.id) return parent;
  if (parent.boundaries.length > 0)
    throw new CofferError(
      "invalid_request",
      "a token with a permission boundary makes tokens in its own namespace alone",
    );
  return { policies: ["default"] };
}

/** Only root makes root, whatever a role allows; and some policies belong to tokens that the server makes itself. */
function assertAssignable(policies: readonly string[], parent: TokenRecord, scope: NamespaceName): void {
  if (policies.includes(ROOT_POLICY) && scope.id !== "")
    throw new CofferError("invalid_request", "root tokens may not be created from a non-root namespace");
  if (policies.includes(ROOT_POLICY) && !parent.policies.includes(ROOT_POLICY)) throw permissionDenied();
  const reserved = policies.find((name) => NON_ASSIGNABLE_POLICIES.includes(name));
  if (reserved !== undefined)
    throw new CofferError("invalid_request", `cannot assign policy ${JSON.stringify(reserved)}`);
}

function tokenType(asked: string | undefined, role: TokenRole | undefined): "service" | "batch" {
  if (role?.type === "service" || role?.type === "batch") return role.type;
  switch (asked) {
    case undefined:
    case "":
      return role?.type === "default-batch" ? "batch" : "service";
    case "service":
    case "batch":
      return asked;
    default:
      throw new CofferError("invalid_request", "invalid 'token_type' value");
  }
}

function policiesOfChild(
  context: PrivilegedContext,
  values: CreateValues,
  parent: Pick<TokenRecord, "policies">,
): readonly string[] {
  const ofParent = parent.policies;
  const asked = normalizePolicyNames(values.policies ?? []);
  const inherit = asked.length === 0;
  const wanted = inherit ? parent.policies : asked;
  if (wanted.includes(ROOT_POLICY)) {
    if (context.scope.id !== "") return [ROOT_POLICY]; // refused in a moment
    if (!ofParent.includes(ROOT_POLICY) && !context.hasSudo) throw permissionDenied();
    if (!ofParent.includes(ROOT_POLICY))
      throw new CofferError("invalid_request", "root tokens may not be created without parent token being root");
    return [ROOT_POLICY];
  }
  if (!inherit && !context.hasSudo && !wanted.every((name) => ofParent.includes(name) || name === "default")) {
    throw new CofferError("invalid_request", "child policies must be subset of parent");
  }
  const withDefault =
    values.no_default_policy === true || (inherit && !parent.policies.includes("default")) ? [] : ["default"];
  return normalizePolicyNames([...wanted, ...withDefault]);
}

function assertPrivileges(context: PrivilegedContext, values: CreateValues, role: TokenRole | undefined): void {
  if (context.hasSudo) return;
  const refuse = (what: string): never => {
    throw new CofferError("invalid_request", `root or sudo privileges required to ${what}`);
  };
  if (values.id) refuse("specify token id");
  if (values.no_parent && !role) refuse("create orphan token");
  if (!role && secondsOf(values.period, "period") > 0) refuse("create periodic token");
}

function describe(
  context: PrivilegedContext,
  values: CreateValues,
  parent: TokenRecord,
  made: { orphan: boolean; role?: TokenRole; type: "service" | "batch"; policies: readonly string[] },
): { wanted: NewToken; warnings: readonly string[] } {
  const { role, type, policies } = made;
  const explicitMaxTtlSeconds = secondsOf(values.explicit_max_ttl, "explicit_max_ttl");
  const roleMaxTtlSeconds = role?.explicitMaxTtlSeconds ?? 0;
  const periodSeconds = role && role.periodSeconds > 0 ? role.periodSeconds : secondsOf(values.period, "period");
  const hardEnd = shortest(explicitMaxTtlSeconds, roleMaxTtlSeconds);
  const ttl = ttlOf(context, values, policies, { explicitMaxTtlSeconds: hardEnd, periodSeconds });
  const orphan = made.orphan || values.no_parent === true || role?.orphan === true;
  const boundaries =
    role && role.boundaryPolicies.length > 0 ? [...parent.boundaries, role.boundaryPolicies] : parent.boundaries;
  const customIdWarning =
    values.id && type === "batch" ? ["A custom ID is not used for batch tokens; the token is its own record"] : [];
  const wanted: NewToken = {
    type,
    parent: orphan ? "" : parent.hash,
    policies,
    boundaries,
    path: `auth/token/${context.path}${role && role.pathSuffix !== "" ? `/${role.pathSuffix}` : ""}`,
    ...(values.meta && Object.keys(values.meta).length > 0 && { metadata: values.meta }),
    displayName: values.display_name ? `token-${sanitized(values.display_name)}` : "token",
    numUses: values.num_uses ?? role?.numUses ?? 0,
    ttlSeconds: ttl.ttlSeconds,
    explicitMaxTtlSeconds,
    ...(roleMaxTtlSeconds > 0 && { roleMaxTtlSeconds }),
    maxTtlSeconds: context.mount.maxTtlSeconds,
    periodSeconds,
    renewable: type === "service" && (role ? role.renewable : true) && (values.renewable ?? true) && ttl.ttlSeconds > 0,
    role: role?.name ?? "",
    entityId: orphan || parent.namespace !== context.scope.id ? "" : parent.entityId,
    boundCidrs: role?.boundCidrs ?? [],
    addressLimits: inheritedLimits(parent),
    ...(parent.vouched && { vouched: parent.vouched }),
    ...(values.id && type === "service" && { id: values.id }),
  };
  return { wanted, warnings: [...ttl.warnings, ...customIdWarning] };
}

function ttlOf(
  context: PrivilegedContext,
  values: CreateValues,
  policies: readonly string[],
  limits: { explicitMaxTtlSeconds: number; periodSeconds: number },
) {
  const asked = secondsOf(values.ttl ?? values.lease, "ttl");
  const isRoot = policies.includes(ROOT_POLICY);
  if (isRoot && asked === 0 && limits.periodSeconds === 0 && limits.explicitMaxTtlSeconds === 0)
    return { ttlSeconds: 0, warnings: [] };
  return resolveTtl(asked, {
    defaultSeconds: context.mount.defaultTtlSeconds,
    maxSeconds: context.mount.maxTtlSeconds,
    explicitMaxSeconds: limits.explicitMaxTtlSeconds,
    periodSeconds: limits.periodSeconds,
    ageSeconds: 0,
  });
}

function sanitized(name: string): string {
  return name.replace(/[^a-zA-Z0-9-]/g, "-").replace(/^-+|-+$/g, "");
}

async function missingPolicies(
  context: PrivilegedContext,
  { policies }: TokenCreation,
  names: readonly string[],
): Promise<readonly string[]> {
  const warnings: string[] = [];
  for (const name of names) {
    if (name !== ROOT_POLICY && !(await policies.get(context.transaction, name)))
      warnings.push(`Policy "${name}" does not exist`);
  }
  return warnings;
}
