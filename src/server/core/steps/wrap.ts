// Step "wrap": when the client asked for it, the finished answer is kept under a wrapping token instead of being sent.
import { encodeSorted } from "#common/json.ts";
import { wrapAnswer } from "../../wrapping/wrapping.ts";
import { envelopeOf } from "../envelope.ts";
import type { CoreServices, RequestState } from "../request-state.ts";

export async function wrap(state: RequestState, services: CoreServices): Promise<void> {
  const { tx, request, reply } = state;
  const ttlSeconds = request.wrapTtlSeconds;
  if (!tx || ttlSeconds === undefined || ttlSeconds === 0 || !reply || reply.bare !== undefined || reply.raw) return;
  if (!reply.data && !state.auth) return;
  // What the client must show before there is anything worth wrapping.
  if (state.auth?.mfa_requirement) return;
  const wrappedAccessor = state.auth?.accessor;
  const wrapped = await wrapAnswer(tx, services.tokens, {
    answer: encodeSorted({ ...envelopeOf(state), request_id: "" }),
    path: request.path,
    ttlSeconds,
    ...(wrappedAccessor !== undefined && { wrappedAccessor }),
  });
  state.wrapInfo = {
    token: wrapped.token,
    accessor: wrapped.record.accessor,
    ttl: ttlSeconds,
    creation_time: new Date(wrapped.record.issuedAtSeconds * 1000).toISOString(),
    creation_path: request.path,
    ...(wrappedAccessor !== undefined && { wrapped_accessor: wrappedAccessor }),
  };
}
