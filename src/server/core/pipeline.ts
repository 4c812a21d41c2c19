// A request from beginning to end: named steps in a pinned order, all inside one transaction (invariant I1). A conflict
// at commit runs the steps again on fresh reads.
import { randomInt } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { LoginRefused } from "../framework/login-refused.ts";
import { tokenKey, tokenKind } from "../tokens/token-record.ts";
import { readToken } from "../tokens/token-store.ts";
import { encodeError, encodeReply } from "./encode.ts";
import type { Answer, Request } from "./request.ts";
import type { CoreServices, RequestState } from "./request-state.ts";
import { auditRequest, auditResponse } from "./steps/audit.ts";
import { authenticate } from "./steps/authenticate.ts";
import { authorise } from "./steps/authorise.ts";
import { handle } from "./steps/handle.ts";
import { issue } from "./steps/issue.ts";
import { readiness } from "./steps/readiness.ts";
import { resolve } from "./steps/resolve.ts";
import { wrap } from "./steps/wrap.ts";

export interface Step {
  readonly name: string;
  run(state: RequestState, services: CoreServices): Promise<void>;
}

/** Audit before handle, readiness before anything that reads secrets: the order is a security property. */
export const steps: readonly Step[] = [
  { name: "resolve", run: resolve },
  { name: "readiness", run: readiness },
  { name: "authenticate", run: authenticate },
  { name: "authorise", run: authorise },
  { name: "audit-request", run: auditRequest },
  { name: "handle", run: handle },
  { name: "issue", run: issue },
  { name: "wrap", run: wrap },
];

/** Runs of one request whose reads kept changing; measured: 64 writers on one key need at most a dozen. */
const ATTEMPTS_MAX = 40;
/** Longest pause before another attempt. */
const PAUSE_MILLIS_MAX = 20;

export async function serve(request: Request, services: CoreServices): Promise<Answer> {
  const audited = { request: false };
  for (let attempt = 1; ; attempt++) {
    const state = newState(request, services, audited);
    try {
      for (const step of steps) await step.run(state, services);
      if ((await commit(state, services)) === "conflict") {
        if (attempt >= ATTEMPTS_MAX)
          throw new CofferError("conflict", "what this request reads is changing too fast; try again");
        if (attempt > 3) await services.clock.sleep(randomInt(PAUSE_MILLIS_MAX));
        continue;
      }
      if (state.tx) await auditResponse(state, services, state.tx);
      state.reply?.afterwards?.();
      return encodeReply(state);
    } catch (error) {
      return fail(error, state, services);
    }
  }
}

function newState(request: Request, services: CoreServices, audited: RequestState["audited"]): RequestState {
  const tx = services.barrier.isSealed ? undefined : services.barrier.begin();
  return { request, tx, operation: request.operation, warnings: [], audited };
}

async function commit(state: RequestState, services: CoreServices): Promise<"committed" | "conflict"> {
  const { tx, token } = state;
  if (!tx) return "committed";
  if (token?.numUses === 1) await services.expiration.revokeToken(tx, token.hash);
  return tx.commit();
}

/** The answer to a failure, audited, and the token's use counted: a refused request is a use. */
async function fail(error: unknown, state: RequestState, services: CoreServices): Promise<Answer> {
  try {
    const tx = await countUse(state, services);
    if (error instanceof LoginRefused) await countRefusal(error, state, services);
    if (tx && !isAuditFailure(error))
      await auditResponse(state, services, tx, error instanceof CofferError ? error.message : "internal error");
    return encodeError(error, state.request, services.log);
  } catch (second) {
    return encodeError(second, state.request, services.log);
  }
}

function isAuditFailure(error: unknown): boolean {
  return error instanceof CofferError && error.code === "audit_failed";
}

/** A wrong password counts although the request that brought it comes to nothing. */
async function countRefusal(refusal: LoginRefused, { route }: RequestState, services: CoreServices): Promise<void> {
  for (let attempt = 0; route && attempt < ATTEMPTS_MAX && !services.barrier.isSealed; attempt++) {
    const tx = services.barrier.begin();
    await services.lockout.noteFailure(tx, route.mount, refusal.aliasName);
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
