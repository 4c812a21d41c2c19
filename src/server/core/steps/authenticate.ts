// Step "authenticate": who asks. Public paths take no token and a bad one does not harm them. A request that is refused
// here never comes to the step "quotas", so it is counted here: who guesses tokens is a client like any other.
import { CofferError } from "#common/errors.ts";
import type { Caller } from "../../framework/context.ts";
import { invalidToken, permissionDenied } from "../../framework/multi-error.ts";
import { aclIn, entityOf } from "../../namespaces/rights.ts";
import { mayComeFrom } from "../../tokens/token-address.ts";
import { type TokenRecord, tokenKey, tokenKind } from "../../tokens/token-record.ts";
import type { CoreServices, RequestState } from "../request-state.ts";
import { inlineToken } from "./inline-login.ts";
import { quotas } from "./quotas.ts";

/** Throws `permission_denied` without a valid token, `rate_limited` when that came too often from the address. */
export async function authenticate(state: RequestState, services: CoreServices): Promise<void> {
  try {
    await findCaller(state, services);
  } catch (error) {
    // A login of the request's own is counted already, as a login.
    if (error instanceof CofferError) await quotas(state, services);
    throw error;
  }
}

async function findCaller(state: RequestState, services: CoreServices): Promise<void> {
  const { tx, request } = state;
  if (!tx || state.route?.definition?.access === "public") return;
  const inline = await inlineToken(state, services);
  state.isInline = inline !== undefined;
  const sent = request.clientToken;
  const token = inline ?? (sent === "" ? undefined : await services.tokens.find(tx, sent));
  if (!token || token.numUses < 0 || !mayComeFrom(token, request.remoteAddress)) throw invalidToken();
  if (token.numUses > 0) {
    // -1: this was the last use. The token is revoked in the same commit; until then handlers find it as any other.
    tx.write(tokenKind, tokenKey(token.hash), { ...token, numUses: token.numUses === 1 ? -1 : token.numUses - 1 });
  }
  await identify(state, services, token);
}

/** Makes a request the token's: its rights and its caller. Throws when the token's entity is disabled. */
export async function identify(state: RequestState, services: CoreServices, token: TokenRecord): Promise<void> {
  const { tx } = state;
  if (!tx) return;
  const entity = await entityOf(tx, services, token);
  if (entity?.disabled) throw invalidToken();
  const acl = await aclIn(state.scope, tx, services, token, entity);
  if (!acl) throw permissionDenied();
  state.token = token;
  state.acl = acl;
  if (state.context) state.context = { ...state.context, caller: callerOf(token) };
}

function callerOf(token: TokenRecord): Caller {
  return {
    tokenAccessor: token.accessor,
    tokenHash: token.hash,
    cubbyholeId: token.cubbyholeId,
    policies: token.policies,
    displayName: token.displayName,
    metadata: token.metadata ?? {},
    entityId: token.entityId,
  };
}
