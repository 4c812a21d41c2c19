// Step "issue": a login's grant becomes a token, a secret that ends becomes a lease. In the request's transaction, so
// that neither exists without the other or without the answer.

import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { invalidToken } from "../../framework/multi-error.ts";
import type { Grant, ResumedLogin, SecretLease } from "../../framework/reply.ts";
import { normalizePolicyNames } from "../../framework/token-parameters.ts";
import { headerCredentials } from "../../identity/mfa/credentials.ts";
import { putLease } from "../../leases/lease-store.ts";
import { mountInfo } from "../../mounts/mount-info.ts";
import type { MountRecord } from "../../mounts/mount-record.ts";
import { readMount } from "../../mounts/mount-table.ts";
import { ROOT_POLICY } from "../../policy/acl.ts";
import { NON_ASSIGNABLE_POLICIES } from "../../policy/builtin-policies.ts";
import { leastOf } from "../../policy/permissions.ts";
import { authAwaitingMfa, authBlock } from "../../tokens/auth-block.ts";
import { newAccessor } from "../../tokens/token-hash.ts";
import type { TokenRecord } from "../../tokens/token-record.ts";
import type { NewToken } from "../../tokens/token-service.ts";
import { resolveTtl } from "../../tokens/token-ttl.ts";
import type { CoreServices, RequestState, Route } from "../request-state.ts";
import { routeWithin } from "../route.ts";
import { quotaSubject } from "./quotas.ts";

export async function issue(state: RequestState, services: CoreServices): Promise<void> {
  const { tx, reply, route } = state;
  if (!tx || !reply || !route) return;
  const written = createsToken(state) ? 1 : 0;
  if (reply.lease || reply.grant || written > 0)
    await services.quotas.reserveLease(tx, quotaSubject(state.request, route), written);
  if (reply.grant) await issueToken(state, services, tx, { mount: route.mount, path: state.request.path }, reply.grant);
  else if (reply.resumedLogin) await resumeLogin(state, services, tx, reply.resumedLogin);
  else if (reply.auth) state.auth = reply.auth;
  if (reply.renewedLease) state.lease = reply.renewedLease;
  if (reply.wrapInfo) state.wrapInfo = reply.wrapInfo;
  if (reply.lease) issueLease(state, services, tx, route, reply.lease);
}

/** Tokens that the token store makes are its own answer and not a grant. */
function createsToken({ reply, route }: RequestState): boolean {
  return reply?.auth !== undefined && route?.mount.type === "token" && /^create(-orphan)?(\/|$)/.test(route.path);
}

/** Where a login came in, which is not where it is finished when its second factor comes in a request of its own. */
interface Login {
  readonly mount: MountRecord;
  readonly path: string;
  /** Set where the second factor was shown, to whose it was. */
  readonly shownFor?: string;
}

/** Throws `invalid_request` when the auth method is gone. */
async function resumeLogin(
  state: RequestState,
  services: CoreServices,
  tx: Transaction,
  { mountPath, mountUuid, path, entityId, grant }: ResumedLogin,
): Promise<void> {
  const mount = await readMount(tx, mountPath);
  if (mount?.uuid !== mountUuid) throw new CofferError("invalid_request", "invalid request ID");
  const subject = quotaSubject({ ...state.request, path }, routeWithin(mount, services.backends, path));
  await services.quotas.reserveLease(tx, subject, 0);
  await issueToken(state, services, tx, { mount, path, shownFor: entityId }, grant);
}

async function issueToken(
  state: RequestState,
  services: CoreServices,
  tx: Transaction,
  login: Login,
  grant: Grant,
): Promise<void> {
  const { mount } = login;
  assertAssignable(grant.policies);
  if (await services.lockout.isLocked(tx, mount, grant.aliasName)) throw invalidToken();
  await services.lockout.noteSuccess(tx, mount, grant.aliasName);
  const entityId = await services.identity.entityForLogin(tx, {
    mountAccessor: mount.accessor,
    mountPath: mount.path,
    mountType: mount.type,
    name: grant.aliasName,
    metadata: grant.metadata,
    groupNames: grant.groupNames,
  });
  if (login.shownFor === undefined) {
    if (await awaitsMfa(state, services, tx, login, grant, entityId)) return;
  } else if (login.shownFor !== entityId) throw new CofferError("invalid_request", "invalid request ID");
  const { wanted, warnings } = tokenOfGrant(services, login, grant, entityId);
  const issued = await services.tokens.create(tx, wanted);
  const entity = await services.identity.view(tx, entityId);
  state.auth = authBlock(issued.token, issued.record, entity?.policies ?? []);
  state.warnings.push(...warnings);
}

/**
 * Whether a login must show a second factor that has not come with it; it is then kept for sys/mfa/validate and the
 * answer says what is asked for. Throws `permission_denied` for one that came and is wrong.
 */
async function awaitsMfa(
  state: RequestState,
  { loginMfa }: CoreServices,
  tx: Transaction,
  { mount, path }: Login,
  grant: Grant,
  entityId: string,
): Promise<boolean> {
  const subject = { mountAccessor: mount.accessor, mountType: mount.type, entityId };
  const demands = await loginMfa.demandsOn(tx, subject);
  if (demands.length === 0) return false;
  const credentials = headerCredentials(state.request.headers);
  if (credentials) {
    await loginMfa.check(tx, entityId, demands, credentials);
    return false;
  }
  const login = { mountPath: mount.path, mountUuid: mount.uuid, path, entityId, grant };
  state.auth = authAwaitingMfa(await loginMfa.defer(tx, login, demands));
  state.warnings.push(
    "A login request was issued that is subject to MFA validation. Please make sure to validate the login by sending another request to mfa/validate endpoint.",
  );
  return true;
}

/** Only root makes root: whoever may write a user or a role must not thereby be able to become root. */
function assertAssignable(policies: readonly string[]): void {
  const names = normalizePolicyNames(policies);
  if (names.includes(ROOT_POLICY)) throw new CofferError("invalid_request", "auth methods cannot create root tokens");
  const reserved = names.find((name) => NON_ASSIGNABLE_POLICIES.includes(name));
  if (reserved !== undefined)
    throw new CofferError("invalid_request", `cannot assign policy ${JSON.stringify(reserved)}`);
}

function tokenOfGrant(
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
    displayName: [mount.path.slice("auth/".length, -1).replaceAll("/", "-"), grant.displayName]
      .filter(Boolean)
      .join("-"),
    numUses: token.numUses,
    ttlSeconds: ttl.ttlSeconds,
    explicitMaxTtlSeconds: token.explicitMaxTtlSeconds,
    maxTtlSeconds,
    periodSeconds: token.periodSeconds,
    renewable: type === "service",
    role: "",
    entityId,
    boundCidrs: token.boundCidrs,
  };
  return { wanted, warnings: ttl.warnings };
}

/** The role decides where it does not say "default"; then the mount; then service. */
function tokenType(ofRole: string, ofMount: string | undefined): "service" | "batch" {
  if (ofMount === "batch" || ofMount === "service") return ofMount;
  const chosen = ofRole === "default" ? (ofMount ?? "default-service") : ofRole;
  return chosen === "batch" || chosen === "default-batch" ? "batch" : "service";
}

function issueLease(
  state: RequestState,
  services: CoreServices,
  tx: Transaction,
  route: Route,
  lease: SecretLease,
): void {
  const { mount } = route;
  const info = mountInfo(mount, services.ttl);
  const now = services.tokens.nowSeconds();
  const cap = leastOf([lease.maxTtlSeconds, info.maxTtlSeconds, batchSecondsLeft(state.token, now)]);
  const ttlSeconds = Math.min(lease.ttlSeconds > 0 ? lease.ttlSeconds : info.defaultTtlSeconds, cap);
  const leaseId = `${state.request.path}/${newAccessor()}`;
  putLease(tx, {
    leaseId,
    kind: "secret",
    path: state.request.path,
    tokenHash: (state.token?.type === "batch" ? state.token.parent : state.token?.hash) ?? "",
    issuedAtSeconds: now,
    expiresAtSeconds: now + ttlSeconds,
    secret: {
      mountPath: mount.path,
      mountUuid: mount.uuid,
      kind: lease.kind,
      renewable: lease.renewable ? "yes" : "no",
      ttlSeconds,
      maxExpiresAtSeconds: now + cap,
      internal: lease.internal,
    },
  });
  state.lease = { leaseId, seconds: ttlSeconds, renewable: lease.renewable };
}

/** A batch token has no record that could take its leases along, so they end no later than it. 0: no limit. */
function batchSecondsLeft(token: TokenRecord | undefined, nowSeconds: number): number {
  return token?.type === "batch" && token.expiresAtSeconds > 0 ? Math.max(token.expiresAtSeconds - nowSeconds, 1) : 0;
}
