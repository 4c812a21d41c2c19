// A request from beginning to end: named steps in a pinned order, all inside one transaction (invariant I1). A conflict
// at commit runs the steps again on fresh reads.
import { randomInt } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import type { Reply } from "../framework/reply.ts";
import type { Outcome } from "../journal/journal.ts";
import { ROOT_SCOPE } from "../namespaces/namespace-scope.ts";
import { encodeReply } from "./encode.ts";
import { EventStream } from "./event-stream.ts";
import { fail } from "./failure.ts";
import { LogStream } from "./log-stream.ts";
import type { Answer, Request } from "./request.ts";
import type { CoreServices, RequestState } from "./request-state.ts";
import { auditRequest, auditResponse } from "./steps/audit.ts";
import { authenticate } from "./steps/authenticate.ts";
import { authorise } from "./steps/authorise.ts";
import { handle } from "./steps/handle.ts";
import { hold } from "./steps/hold.ts";
import { issue } from "./steps/issue.ts";
import { namespace } from "./steps/namespace.ts";
import { perform } from "./steps/perform.ts";
import { quotas, rateLimitHeaders } from "./steps/quotas.ts";
import { readiness } from "./steps/readiness.ts";
import { resolve } from "./steps/resolve.ts";
import { wrap } from "./steps/wrap.ts";

export interface Step {
  readonly name: string;
  /** Undefined when there was nothing to wait for: most requests pass most steps so. */
  run(state: RequestState, services: CoreServices): Promise<void> | undefined;
}

/** Namespace first, audit before handle, readiness before anything that reads secrets: the order is a security property. */
export const steps: readonly Step[] = [
  { name: "namespace", run: namespace },
  { name: "resolve", run: resolve },
  { name: "readiness", run: readiness },
  { name: "authenticate", run: authenticate },
  { name: "quotas", run: quotas },
  { name: "authorise", run: authorise },
  { name: "audit-request", run: auditRequest },
  { name: "hold", run: hold },
  { name: "handle", run: handle },
  { name: "perform", run: perform },
  { name: "issue", run: issue },
  { name: "wrap", run: wrap },
];

/** Runs of one request whose reads kept changing: with turns, far more than a process of its own needs. */
const ATTEMPTS_MAX = 40;
/** Conflicts after which a request waits for its turn: one may be chance, two are a crowd. */
const FREE_ATTEMPTS = 2;
/** Longest pause before another attempt. */
const PAUSE_MILLIS_MAX = 20;

export async function serve(request: Request, services: CoreServices): Promise<Answer> {
  const inline = { audited: { request: false, response: false }, counted: { done: false } };
  const shared = {
    audited: { request: false },
    auditedPerformed: { request: false },
    counted: { done: false },
    inline,
  };
  let lane = "";
  for (let attempt = 1; ; attempt++) {
    using turn = attempt > FREE_ATTEMPTS ? await services.turns.take(lane) : undefined;
    const state = newState(request, services, shared);
    let committed = false;
    let outcome: Outcome = "failed";
    try {
      for (const step of steps) {
        const running = step.run(state, services);
        if (running) await running;
      }
      outcome = "unknown";
      committed = (await commit(state, services)) === "committed";
      outcome = committed ? "committed" : "failed";
      await services.journal.settle(state.tx, outcome);
      if (!committed) {
        if (attempt >= ATTEMPTS_MAX)
          throw new CofferError("conflict", "what this request reads is changing too fast; try again");
        lane = state.route?.mount.accessor ?? "";
        // Others may be of another process, which takes no turns with this one.
        if (attempt > 2 * FREE_ATTEMPTS) await services.clock.sleep(randomInt(PAUSE_MILLIS_MAX));
        continue;
      }
      turn?.[Symbol.dispose]();
      if (state.tx) services.events.publish(state.tx);
      if (state.tx && state.performed) await auditResponse(state.performed, services, state.tx);
      if (state.tx) await auditResponse(state, services, state.tx);
      const done = state.performed ?? state;
      await done.reply?.afterwards?.();
      if (done.reply?.awaited) answerInstead(done, await done.reply.awaited());
      return withHeaders((await streamOf(state, services)) ?? encodeReply(done), state);
    } catch (error) {
      await services.journal.settle(state.tx, outcome);
      if (!committed && attempt < ATTEMPTS_MAX && (await isTornRead(error, state))) continue;
      return withHeaders(await fail(error, state, services, committed), state);
    }
  }
}

/**
 * Whether a fault comes of records that were never there together: reads are of different moments, and nothing but a
 * commit looks at that. A secret whose version is removed between the two reads that it takes is no damage.
 */
async function isTornRead(error: unknown, { tx }: RequestState): Promise<boolean> {
  if (!tx || (error instanceof CofferError && error.code !== "internal" && error.code !== "conflict")) return false;
  return tx.isCurrent().then(
    (isCurrent) => !isCurrent,
    () => false,
  );
}

function answerInstead(state: RequestState, reply: Reply): void {
  state.reply = reply;
  state.warnings.push(...(reply.warnings ?? []));
}

/** The beginning of a stream, where the reply is one. */
async function streamOf(
  { reply, token, request, scope }: RequestState,
  services: CoreServices,
): Promise<Answer | undefined> {
  if (!token) return undefined;
  if (reply?.download) {
    const { contentType, open } = reply.download;
    return { status: 200, contentType, body: undefined, bytes: await open() };
  }
  const asked = { scope, path: request.path };
  if (reply?.monitor) {
    const lines = new LogStream(services, token, asked, reply.monitor);
    return { status: 200, contentType: "text/plain; charset=utf-8", body: undefined, lines };
  }
  if (!reply?.subscription) return undefined;
  const stream = new EventStream(services, token, asked, reply.subscription);
  return { status: 101, contentType: "application/json", body: undefined, stream };
}

/** What all attempts at one request share. */
type SharedState = Required<Pick<RequestState, "audited" | "auditedPerformed" | "counted" | "inline">>;

function newState(request: Request, services: CoreServices, shared: SharedState): RequestState {
  const tx = services.barrier.isSealed ? undefined : services.barrier.begin();
  return { request, tx, scope: ROOT_SCOPE, operation: request.operation, warnings: [], ...shared };
}

function withHeaders(answer: Answer, { counted }: RequestState): Answer {
  const headers = rateLimitHeaders(counted?.rateLimit);
  return Object.keys(headers).length === 0 ? answer : { ...answer, headers: { ...answer.headers, ...headers } };
}

async function commit(state: RequestState, services: CoreServices): Promise<"committed" | "conflict"> {
  const { tx, token } = state;
  if (!tx) return "committed";
  if (token?.numUses === 1) await services.expiration.revokeToken(tx, token.hash);
  return tx.commit();
}
