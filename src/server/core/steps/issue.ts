// Step "issue": a login's grant becomes a token, a secret that ends becomes a lease. In the request's transaction, so
// that neither exists without the other or without the answer.

import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { Grant, ResumedLogin, SecretLease } from "../../framework/reply.ts";
import { headerCredentials } from "../../identity/mfa/credentials.ts";
import { leaseEvent } from "../../leases/lease-events.ts";
import type { LeaseRecord } from "../../leases/lease-record.ts";
import { putLease } from "../../leases/lease-store.ts";
import { mountInfo } from "../../mounts/mount-info.ts";
import { readMount } from "../../mounts/mount-table.ts";
import { suffixOf } from "../../namespaces/namespace-scope.ts";
import { leastOf } from "../../policy/permissions.ts";
import { authAwaitingMfa, authBlock } from "../../tokens/auth-block.ts";
import { newAccessor } from "../../tokens/token-hash.ts";
import type { TokenRecord } from "../../tokens/token-record.ts";
import type { CoreServices, RequestState, Route } from "../request-state.ts";
import { routeWithin } from "../route.ts";
import { entityOfGrant, grantTo, type Login, tokenOfGrant } from "./login.ts";
import { quotaSubject } from "./quotas.ts";

export async function issue(state: RequestState, services: CoreServices): Promise<void> {
  const { tx, reply, route } = state;
  if (!tx || !reply || !route) return;
  if (state.isInline) refuseLasting(state);
  const written = createsToken(state) ? 1 : 0;
  if (reply.lease || reply.grant || written > 0)
    await services.quotas.reserveLease(tx, quotaSubject(state.request, route), written);
  if (reply.grant) {
    const { path, remoteAddress } = state.request;
    await issueToken(state, services, tx, { mount: route.mount, path }, grantTo(reply.grant, remoteAddress));
  } else if (reply.resumedLogin) await resumeLogin(state, services, tx, reply.resumedLogin);
  else if (reply.auth) state.auth = reply.auth;
  if (reply.renewedLease) state.lease = reply.renewedLease;
  if (reply.wrapInfo) state.wrapInfo = reply.wrapInfo;
  if (reply.lease) issueLease(state, services, tx, route, reply.lease);
}

/** Throws `invalid_request` for what would outlive the token that made it without anything to end it by. */
function refuseLasting(state: RequestState): void {
  const { reply } = state;
  if (reply?.lease || reply?.renewedLease || reply?.grant || reply?.resumedLogin || createsToken(state))
    throw new CofferError(
      "invalid_request",
      "inline authentication cannot make tokens or leases: its token ends with the request; log in first",
    );
}

/** Tokens that the token store makes are its own answer and not a grant. */
function createsToken({ reply, route }: RequestState): boolean {
  return reply?.auth !== undefined && route?.mount.type === "token" && /^create(-orphan)?(\/|$)/.test(route.path);
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
  const entityId = await entityOfGrant(services, tx, login, grant);
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
  const leaseId = `${state.request.path}/${newAccessor()}${suffixOf(state.scope.id)}`;
  const record: LeaseRecord = {
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
  };
  putLease(tx, record);
  const event = leaseEvent("create", record);
  if (event) services.events.note(tx, event, mount, state.request.namespace);
  state.lease = { leaseId, seconds: ttlSeconds, renewable: lease.renewable };
}

/** A batch token has no record that could take its leases along, so they end no later than it. 0: no limit. */
function batchSecondsLeft(token: TokenRecord | undefined, nowSeconds: number): number {
  return token?.type === "batch" && token.expiresAtSeconds > 0 ? Math.max(token.expiresAtSeconds - nowSeconds, 1) : 0;
}
