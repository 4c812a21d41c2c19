// Step "quotas": whether the client has not asked too often. A request that runs again after a conflict counts once.
// Refusals are audited only when sys/quotas/config says so, as clients of Vault expect: they tell nothing, and a log
// that grows with a flood is what the limit is there against.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { isAuthMount } from "../../mounts/mount-record.ts";
import type { QuotaSubject } from "../../quotas/quota-match.ts";
import type { RateLimitOutcome } from "../../quotas/quotas.ts";
import type { CoreServices, RequestState, Route } from "../request-state.ts";

export async function quotas(state: RequestState, services: CoreServices): Promise<void> {
  const { tx, route, request, counted } = state;
  // What answers while sealed is asked by probes, which must never be refused.
  if (!tx || !counted || route?.definition?.when === "always") return;
  if (!counted.done) {
    const client = { address: request.remoteAddress, entityId: state.token?.entityId ?? "" };
    const outcome = await services.quotas.countRequest(tx, quotaSubject(request, route), client);
    counted.done = true;
    if (outcome) counted.rateLimit = outcome;
  }
  const { rateLimit } = counted;
  if (rateLimit && !rateLimit.verdict.allowed)
    throw new CofferError("rate_limited", `request path ${JSON.stringify(request.path)}: rate limit quota exceeded`);
}

/** How quotas know a request. */
export function quotaSubject(
  request: { readonly namespace: string; readonly path: string; readonly data: JsonObject },
  route: Route | undefined,
): QuotaSubject {
  return {
    namespace: request.namespace,
    path: request.path,
    // Where no mount is, what holds for the whole namespace holds.
    mountPath: route?.mount.path ?? "",
    role: route ? roleOf(request, route) : "",
  };
}

/** Methods with roles name theirs in the body, those with users in the path. */
function roleOf({ data }: { readonly data: JsonObject }, { mount, definition, parameters }: Route): string {
  if (!isAuthMount(mount) || definition?.access !== "public") return "";
  const { role } = data;
  return typeof role === "string" ? role : (parameters["username"] ?? parameters["name"] ?? "");
}

/** What a client is told of its allowance. */
export function rateLimitHeaders(outcome: RateLimitOutcome | undefined): Readonly<Record<string, string>> {
  if (!outcome?.responseHeaders) return {};
  const { allowed, limit, remaining, resetSeconds } = outcome.verdict;
  return {
    "X-Ratelimit-Limit": String(limit),
    "X-Ratelimit-Remaining": String(remaining),
    "X-Ratelimit-Reset": String(resetSeconds),
    ...(!allowed && { "Retry-After": String(resetSeconds) }),
  };
}
