// Step "wrap": when the client asked for it, the finished answer is kept under a wrapping token instead of being sent.
import { encodeSorted } from "#common/json.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { type WrappedAnswer, wrapAnswer, wrapInfoOf } from "../../wrapping/wrapping.ts";
import { encodeReply } from "../encode.ts";
import { envelopeOf } from "../envelope.ts";
import type { CoreServices, RequestState } from "../request-state.ts";

export function wrap(state: RequestState, services: CoreServices): Promise<void> | undefined {
  const { tx, request } = state;
  const ttlSeconds = request.wrapTtlSeconds;
  const answer = tx && ttlSeconds ? answerOf(state) : undefined;
  return tx && ttlSeconds && answer ? keepAnswer(state, services, { tx, ttlSeconds, answer }) : undefined;
}

interface Kept {
  readonly tx: Transaction;
  readonly ttlSeconds: number;
  readonly answer: WrappedAnswer;
}

async function keepAnswer(state: RequestState, services: CoreServices, { tx, ttlSeconds, answer }: Kept) {
  const { request, auth } = state;
  const wanted = { path: request.path, ttlSeconds, format: request.wrapFormat };
  const wrapped = await wrapAnswer(tx, services.tokens, { ...wanted, answer });
  state.wrapInfo = wrapInfoOf(wrapped, auth?.accessor);
}

/** What there is to keep; undefined for an answer without content and for what is never wrapped. */
function answerOf(state: RequestState): WrappedAnswer | undefined {
  const { reply, auth } = state;
  if (!reply) return undefined;
  if (reply.raw || reply.bare !== undefined) return rawAnswer(state);
  if (!reply.data && !auth) return undefined;
  // What the client must show before there is anything worth wrapping.
  if (auth?.mfa_requirement) return undefined;
  return {
    response: encodeSorted({ ...envelopeOf(state), request_id: "" }),
    ...(auth && { wrappedAccessor: auth.accessor }),
  };
}

/** States of the server and help are outside of the logical API and never wrapped. */
function rawAnswer(state: RequestState): WrappedAnswer | undefined {
  if (state.route?.definition?.when === "always" || state.request.operation === "help") return undefined;
  const { status, contentType, body = "" } = encodeReply(state);
  return { response: "", raw: { status, contentType, base64: Buffer.from(body).toString("base64") } };
}
