// Making tokens from tokens: create, create-orphan, create/<role>. Rights never grow: a child has at most its parent's
// policies unless the caller has sudo on the path, and always its parent's boundaries.
import { isIP } from "node:net";
import { CofferError } from "#common/errors.ts";
import type { NamespaceName, PrivilegedContext } from "../../framework/context.ts";
import { permissionDenied } from "../../framework/multi-error.ts";
import type { Reply } from "../../framework/reply.ts";
import type { Identity } from "../../identity/identity.ts";
import { ROOT_POLICY } from "../../policy/acl.ts";
import { NON_ASSIGNABLE_POLICIES } from "../../policy/builtin-policies.ts";
import type { PolicyStore } from "../../policy/policy-store.ts";
import { authBlock } from "../../tokens/auth-block.ts";
import { inheritedLimits } from "../../tokens/token-address.ts";
import type { TokenRecord } from "../../tokens/token-record.ts";
import type { NewToken, TokenService } from "../../tokens/token-service.ts";
import { resolveTtl, shortest } from "../../tokens/token-ttl.ts";
import { policiesOf } from "./child-policies.ts";
import { assertCreatable, type CreateValues, secondsOf } from "./token-fields.ts";
import { allowsEntityAlias, type TokenRole } from "./token-role.ts";

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
  assertFromHere(context, parent);
  const policies = policiesOf(context, values, parent, role);
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
 * Whether the parent may make a token here: that of another namespace needs sudo, and a boundary's name means something
 * else here, so that it cannot be handed on. Throws `invalid_request`.
 */
function assertFromHere({ scope, hasSudo }: PrivilegedContext, parent: TokenRecord): void {
  if (parent.namespace === scope.id) return;
  if (!hasSudo)
    throw new CofferError(
      "invalid_request",
      "root or sudo privileges required to directly generate a token in a child namespace",
    );
  if (parent.boundaries.length > 0)
    throw new CofferError(
      "invalid_request",
      "a token with a permission boundary makes tokens in its own namespace alone",
    );
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

function assertPrivileges(context: PrivilegedContext, values: CreateValues, role: TokenRole | undefined): void {
  if (values.id && context.scope.id !== "")
    throw new CofferError("invalid_request", "token IDs can only be manually specified in the root namespace");
  if (context.hasSudo) return;
  const refuse = (what: string): never => {
    throw new CofferError("invalid_request", `root or sudo privileges required to ${what}`);
  };
  if (values.id) refuse("specify token id");
  if (values.no_parent && !role) refuse("create orphan token");
  if (secondsOf(values.period, "period") > 0) refuse("create periodic token");
}

function describe(
  context: PrivilegedContext,
  values: CreateValues,
  parent: TokenRecord,
  made: { orphan: boolean; role?: TokenRole; type: "service" | "batch"; policies: readonly string[] },
): { wanted: NewToken; warnings: readonly string[] } {
  const { role, type, policies } = made;
  const limits = limitsOf(values, type === "batch" ? undefined : role);
  const ttl = ttlOf(context, values, policies, limits);
  if (ttl.ttlSeconds === 0 && parent.expiresAtSeconds > 0)
    throw new CofferError("invalid_request", "expiring root tokens cannot create non-expiring root tokens");
  // A role says itself whether its tokens are orphans.
  const orphan = made.orphan || (role ? role.orphan : values.no_parent === true);
  const wanted: NewToken = {
    type,
    parent: orphan ? "" : parent.hash,
    policies,
    boundaries: [...parent.boundaries, ...(role && role.boundaryPolicies.length > 0 ? [role.boundaryPolicies] : [])],
    path: `auth/token/${context.path}${role && role.pathSuffix !== "" ? `/${role.pathSuffix}` : ""}`,
    ...(values.meta && Object.keys(values.meta).length > 0 && { metadata: values.meta }),
    displayName: values.display_name ? `token-${sanitized(values.display_name)}` : "token",
    numUses: limits.numUses,
    ttlSeconds: ttl.ttlSeconds,
    explicitMaxTtlSeconds: limits.ownMaxTtlSeconds,
    ...(limits.roleMaxTtlSeconds > 0 && { roleMaxTtlSeconds: limits.roleMaxTtlSeconds }),
    maxTtlSeconds: context.mount.maxTtlSeconds,
    periodSeconds: limits.periodSeconds,
    renewable: type === "service" && (role ? role.renewable : true) && (values.renewable ?? true) && ttl.ttlSeconds > 0,
    role: role?.name ?? "",
    entityId: orphan || parent.namespace !== context.scope.id ? "" : parent.entityId,
    ...addressesOf(context, parent, role),
    ...(parent.vouched && { vouched: parent.vouched }),
    ...(values.id && type === "service" && { id: values.id }),
  };
  const customIdWarning =
    values.id && type === "batch" ? ["A custom ID is not used for batch tokens; the token is its own record"] : [];
  return { wanted, warnings: [...limits.warnings, ...ttl.warnings, ...customIdWarning] };
}

interface Limits {
  /** 0 is none, in all of them. */
  readonly ownMaxTtlSeconds: number;
  readonly roleMaxTtlSeconds: number;
  readonly periodSeconds: number;
  readonly numUses: number;
  readonly warnings: readonly string[];
}

/** What was asked for and what the role says: the lesser counts, whoever asks for how much. */
function limitsOf(values: CreateValues, role: TokenRole | undefined): Limits {
  const asked = secondsOf(values.explicit_max_ttl, "explicit_max_ttl");
  const ofRole = role?.explicitMaxTtlSeconds ?? 0;
  const askedPeriod = secondsOf(values.period, "period");
  const periodOfRole = role?.periodSeconds ?? 0;
  const both = (what: string, a: number, b: number) =>
    a > 0 && b > 0
      ? [`${what} specified both during creation call and in role; using the lesser value of ${shortest(a, b)} seconds`]
      : [];
  return {
    ownMaxTtlSeconds: asked,
    roleMaxTtlSeconds: ofRole,
    periodSeconds: shortest(askedPeriod, periodOfRole),
    numUses: shortest(values.num_uses ?? 0, role?.numUses ?? 0),
    warnings: [...both("Explicit max TTL", asked, ofRole), ...both("Period", askedPeriod, periodOfRole)],
  };
}

/** From where it may be used. Throws `permission_denied` where a role binds to an address that is not known. */
function addressesOf(
  { remoteAddress }: PrivilegedContext,
  parent: TokenRecord,
  role: TokenRole | undefined,
): Pick<TokenRecord, "boundCidrs" | "addressLimits"> {
  const addressLimits = inheritedLimits(parent);
  if (!role?.strictlyBindIp) return { boundCidrs: role?.boundCidrs ?? [], addressLimits };
  if (isIP(remoteAddress) === 0) throw permissionDenied();
  const ofRole = role.boundCidrs.length > 0 ? [role.boundCidrs] : [];
  return { boundCidrs: [remoteAddress], addressLimits: [...addressLimits, ...ofRole] };
}

function ttlOf(
  context: PrivilegedContext,
  values: CreateValues,
  policies: readonly string[],
  { ownMaxTtlSeconds, roleMaxTtlSeconds, periodSeconds }: Limits,
) {
  const explicitMaxSeconds = shortest(ownMaxTtlSeconds, roleMaxTtlSeconds);
  const asked = secondsOf(values.ttl ?? values.lease, "ttl");
  const isRoot = policies.includes(ROOT_POLICY);
  if (isRoot && asked === 0 && periodSeconds === 0 && explicitMaxSeconds === 0) return { ttlSeconds: 0, warnings: [] };
  return resolveTtl(asked, {
    defaultSeconds: context.mount.defaultTtlSeconds,
    maxSeconds: context.mount.maxTtlSeconds,
    explicitMaxSeconds,
    periodSeconds,
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
