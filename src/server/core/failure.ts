// What happens when a request fails: its transaction comes to nothing, but the failure is audited, the token's use and
// the wrong password are counted, and what a request's own login used up stays so, each in a commit of its own.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { LoginRefused } from "../framework/login-refused.ts";
import { invalidToken } from "../framework/multi-error.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import { DECISION_HEADER } from "../policy/decision-id.ts";
import { tokenKey, tokenKind } from "../tokens/token-record.ts";
import { readToken } from "../tokens/token-store.ts";
import { encodeError } from "./encode.ts";
import type { Answer } from "./request.ts";
import type { CoreServices, RequestState } from "./request-state.ts";
import { auditResponse } from "./steps/audit.ts";
import { InlineLoginFailed, repeatLogin } from "./steps/inline-login.ts";

/** Tells a refusal of the login from one of what was asked with it. */
const INLINE_FAILED_HEADER = "X-Vault-Inline-Auth-Failed";
/** Other requests with the same token or for the same user may be in the way. */
const ATTEMPTS_MAX = 40;

/**
 * The answer to a failure, audited, and the token's use counted: a refused request is a use. `committed`: it failed
 * after its commit, which has counted the use.
 */
export async function fail(
  thrown: unknown,
  state: RequestState,
  services: CoreServices,
  committed: boolean,
): Promise<Answer> {
  if (thrown instanceof InlineLoginFailed) {
    const answer = await fail(thrown.cause, thrown.login, services, committed);
    return { ...answer, headers: { ...answer.headers, [INLINE_FAILED_HEADER]: "true" } };
  }
  let error = thrown;
  try {
    const tx = committed ? begin(services) : await countUse(state, services);
    if (!committed) await keepLogin(state, services);
    if (thrown instanceof LoginRefused && (await countRefusal(thrown, state, services))) error = invalidToken();
    const message = error instanceof CofferError ? error.message : "internal error";
    if (tx && !isAuditFailure(error)) {
      if (state.performed) await auditResponse(state.performed, services, tx, message);
      await auditResponse(state, services, tx, message);
    }
    const answer = encodeError(error, state.request, services.log);
    const decisionId = tx && (await decisionIdOf(state, services, tx));
    return decisionId === undefined ? answer : { ...answer, headers: { [DECISION_HEADER]: decisionId } };
  } catch (second) {
    // That a change may have been made is worth more to the client than why dealing with the failure failed, too.
    return encodeError(isUnconfirmed(thrown) ? thrown : second, state.request, services.log);
  }
}

const isUnconfirmed = (error: unknown) => error instanceof CofferError && error.code === "unconfirmed";

/** By which an administrator can look up why the policies refused this; undefined when they did not. */
async function decisionIdOf(state: RequestState, services: CoreServices, tx: Transaction): Promise<string | undefined> {
  const { decision, token, request, route, operation } = state;
  if (!decision || !token) return undefined;
  const lacksSudo = route?.definition?.access === "sudo" && !decision.sudo;
  if (decision.allowed && !lacksSudo) return undefined;
  return services.decisions.seal(tx, services.clock.now(), token, { operation, path: request.path }, decision);
}

function isAuditFailure(error: unknown): boolean {
  return error instanceof CofferError && error.code === "audit_failed";
}

function begin({ barrier }: CoreServices): Transaction | undefined {
  return barrier.isSealed ? undefined : barrier.begin();
}

/**
 * A wrong password counts although the request that brought it comes to nothing. True when the user is locked: then
 * the answer is the same as to the right one, or whoever guesses could go on meanwhile.
 */
async function countRefusal(
  refusal: LoginRefused,
  { route, scope }: RequestState,
  services: CoreServices,
): Promise<boolean> {
  for (let attempt = 0; route && attempt < ATTEMPTS_MAX && !services.barrier.isSealed; attempt++) {
    const tx = namespaceView(services.barrier.begin(), scope.id);
    if (await services.lockout.isLocked(tx, route.mount, refusal.aliasName)) return true;
    await services.lockout.noteFailure(tx, route.mount, refusal.aliasName);
    if ((await tx.commit()) === "committed") return false;
  }
  return false;
}

/** What the login of a request has used up is used up although the request comes to nothing. */
async function keepLogin(state: RequestState, services: CoreServices): Promise<void> {
  if (!state.isLoginWritten) return;
  for (let attempt = 0; attempt < ATTEMPTS_MAX && !services.barrier.isSealed; attempt++) {
    const tx = services.barrier.begin();
    try {
      await repeatLogin(state, services, tx);
    } catch (error) {
      // Refused by now: another has used it up meanwhile.
      if (error instanceof CofferError && error.status < 500) return;
      throw error;
    }
    if ((await tx.commit()) === "committed") return;
  }
}

async function countUse({ token }: RequestState, services: CoreServices): Promise<Transaction | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX && !services.barrier.isSealed; attempt++) {
    const tx = services.barrier.begin();
    if (!token || token.numUses <= 0) return tx;
    const current = await readToken(tx, token.hash);
    if (!current || current.numUses <= 0) return tx;
    if (current.numUses === 1) await services.expiration.revokeToken(tx, token.hash);
    else tx.write(tokenKind, tokenKey(token.hash), { ...current, numUses: current.numUses - 1 });
    if ((await tx.commit()) === "committed") return services.barrier.begin();
  }
  return undefined;
}
