// Steps "audit-request" and "audit-response" (invariant I3). The request line is written before the handler runs, the
// response line before the answer is sent; both also for requests that are refused. When every device refuses the
// response line, the change is made already (its request line is there) and only the answer is kept back: a line before
// the commit could tell of a change that never came to be.

import type { JsonObject, JsonValue } from "#common/json.ts";
import type { AuditedAuth, AuditedRequest } from "../../audit/audit-entry.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { Reply } from "../../framework/reply.ts";
import type { CoreServices, RequestState } from "../request-state.ts";

export async function auditRequest(state: RequestState, services: CoreServices): Promise<void> {
  if (!state.tx || state.audited.request || isUnaudited(state)) return;
  await services.audit.record(state.tx, {
    timeMillis: services.clock.now(),
    type: "request",
    auth: authOf(state),
    request: requestOf(state),
  });
  state.audited.request = true;
}

/** `tx` is a fresh one after a failure, because the request's own may be spoilt. */
export async function auditResponse(
  state: RequestState,
  services: CoreServices,
  tx: Transaction,
  error?: string,
): Promise<void> {
  if (isUnaudited(state)) return;
  if (!state.audited.request) await auditRequest({ ...state, tx }, services);
  await services.audit.record(tx, {
    timeMillis: services.clock.now(),
    type: "response",
    auth: authOf(state),
    request: requestOf(state),
    response: {
      data: state.wrapInfo ? null : contentOf(state.reply),
      auth: state.auth && !state.wrapInfo ? { ...state.auth } : null,
      wrapInfo: state.wrapInfo ? { ...state.wrapInfo } : null,
      leaseId: state.lease?.leaseId ?? "",
      nonHmacKeys: state.route?.mount.config.auditNonHmacResponseKeys ?? [],
    },
    ...(error !== undefined && { error }),
  });
}

/** Whatever form the answer has; bytes with a type of their own are not repeated in a log. */
function contentOf(reply: Reply | undefined): JsonValue {
  return reply?.data ?? reply?.envelope ?? reply?.bare ?? null;
}

/** Paths that answer while sealed cannot depend on devices whose list is sealed away. For refusals see quotas.ts. */
function isUnaudited({ route, counted }: RequestState): boolean {
  if (route?.definition?.when === "always") return true;
  return counted?.rateLimit?.verdict.allowed === false && !counted.rateLimit.auditRefusals;
}

function authOf({ token, request, decision }: RequestState): AuditedAuth | undefined {
  if (!token) return undefined;
  return {
    record: token,
    accessor: token.accessor,
    clientToken: request.clientToken,
    displayName: token.displayName,
    policies: token.policies,
    metadata: token.metadata,
    entityId: token.entityId,
    tokenType: token.type,
    tokenTtlSeconds: token.ttlSeconds,
    tokenIssuedAtSeconds: token.issuedAtSeconds,
    grantingPolicies: decision?.grantingPolicies ?? [],
    allowed: decision?.allowed ?? false,
  };
}

function requestOf({ request, operation, route, scope }: RequestState): AuditedRequest {
  return {
    id: request.id,
    operation,
    path: request.path,
    data: request.data satisfies JsonObject,
    clientToken: request.clientToken,
    headers: request.headers ?? {},
    remoteAddress: request.remoteAddress,
    remotePort: request.remotePort,
    namespace: scope,
    wrapTtlSeconds: request.wrapTtlSeconds,
    mountPath: route?.mount.path ?? "",
    mountType: route?.mount.type ?? "",
    mountAccessor: route?.mount.accessor ?? "",
    nonHmacKeys: route?.mount.config.auditNonHmacRequestKeys ?? [],
  };
}
