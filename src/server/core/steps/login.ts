// From what an auth method says of a user to the token that it is worth: whose entity it is, and every member of the
// token's record. The same for tokens that are stored and for those that live as long as a request.
import { isIP } from "node:net";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { invalidToken, permissionDenied } from "../../framework/multi-error.ts";
import type { Grant } from "../../framework/reply.ts";
import { normalizePolicyNames } from "../../framework/token-parameters.ts";
import { mountInfo } from "../../mounts/mount-info.ts";
import type { MountRecord } from "../../mounts/mount-record.ts";
import { ROOT_POLICY } from "../../policy/acl.ts";
import { NON_ASSIGNABLE_POLICIES } from "../../policy/builtin-policies.ts";
import type { NewToken } from "../../tokens/token-service.ts";
import { resolveTtl } from "../../tokens/token-ttl.ts";
import type { CoreServices } from "../request-state.ts";

/** Where a login came in, which is not where it is finished when its second factor comes in a request of its own. */
export interface Login {
  readonly mount: MountRecord;
  readonly path: string;
  /** Set where the second factor was shown, to whose it was. */
  readonly shownFor?: string;
}

/** The id of the user's entity, made at the first login. Throws when the user is locked out or may not log in. */
export async function entityOfGrant(
  services: CoreServices,
  tx: Transaction,
  { mount }: Login,
  grant: Grant,
): Promise<string> {
  assertAssignable(grant.policies);
  if (await services.lockout.isLocked(tx, mount, grant.aliasName)) throw invalidToken();
  await services.lockout.noteSuccess(tx, mount, grant.aliasName);
  return services.identity.entityForLogin(tx, {
    mountAccessor: mount.accessor,
    mountPath: mount.path,
    mountType: mount.type,
    name: grant.aliasName,
    metadata: grant.metadata,
    groupNames: grant.groupNames,
  });
}

/** Only root makes root: whoever may write a user or a role must not thereby be able to become root. */
function assertAssignable(policies: readonly string[]): void {
  const names = normalizePolicyNames(policies);
  if (names.includes(ROOT_POLICY)) throw new CofferError("invalid_request", "auth methods cannot create root tokens");
  const reserved = names.find((name) => NON_ASSIGNABLE_POLICIES.includes(name));
  if (reserved !== undefined)
    throw new CofferError("invalid_request", `cannot assign policy ${JSON.stringify(reserved)}`);
}

/**
 * The grant as it counts for who has sent the login: with an address bound to, which must outlast the wait for a second
 * factor. Throws `permission_denied` where the address is not known, as behind a socket of the file system.
 */
export function grantTo(grant: Grant, remoteAddress: string): Grant {
  const { strictlyBindIp = false, ...token } = grant.token;
  if (!strictlyBindIp) return grant;
  if (isIP(remoteAddress) === 0) throw permissionDenied();
  return { ...grant, token: { ...token, boundCidrs: [remoteAddress] } };
}

/** The token of a grant, not yet made, and what its client should know. */
export function tokenOfGrant(
  services: CoreServices,
  { mount, path }: Login,
  grant: Grant,
  entityId: string,
): { wanted: NewToken; warnings: readonly string[] } {
  const info = mountInfo(mount, services.ttl);
  const { token } = grant;
  const maxTtlSeconds =
    token.maxTtlSeconds > 0 ? Math.min(token.maxTtlSeconds, info.maxTtlSeconds) : info.maxTtlSeconds;
  const ttl = resolveTtl(token.ttlSeconds, {
    defaultSeconds: info.defaultTtlSeconds,
    maxSeconds: maxTtlSeconds,
    explicitMaxSeconds: token.explicitMaxTtlSeconds,
    periodSeconds: token.periodSeconds,
    ageSeconds: 0,
  });
  const type = tokenType(token.type, mount.config.tokenType);
  const wanted: NewToken = {
    type,
    parent: "",
    policies: normalizePolicyNames([...grant.policies, ...(token.noDefaultPolicy ? [] : ["default"])]),
    boundaries: [mount.config.boundaryPolicies, token.boundaryPolicies].filter((names) => names.length > 0),
    path,
    ...(Object.keys(grant.metadata).length > 0 && { metadata: grant.metadata }),
    vouched: grant.vouched ?? grant.metadata,
    displayName: [mount.path.slice("auth/".length, -1).replaceAll("/", "-"), grant.displayName]
      .filter(Boolean)
      .join("-"),
    // Nothing is stored for a batch token that could count.
    numUses: type === "batch" ? 0 : token.numUses,
    ttlSeconds: ttl.ttlSeconds,
    explicitMaxTtlSeconds: token.explicitMaxTtlSeconds,
    maxTtlSeconds,
    periodSeconds: token.periodSeconds,
    renewable: type === "service",
    role: "",
    entityId,
    boundCidrs: token.boundCidrs,
    addressLimits: [],
  };
  return { wanted, warnings: ttl.warnings };
}

/** The role decides where it does not say "default"; then the mount; then service. */
function tokenType(ofRole: string, ofMount: string | undefined): "service" | "batch" {
  if (ofMount === "batch" || ofMount === "service") return ofMount;
  const chosen = ofRole === "default" ? (ofMount ?? "default-service") : ofRole;
  return chosen === "batch" || chosen === "default-batch" ? "batch" : "service";
}
