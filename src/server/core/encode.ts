// From what a request came to, to status and body. Which content makes 200, 204 or 404 is decided here and only here.
import { CofferError } from "#common/errors.ts";
import { encodeSorted, escapeForHtml, type JsonObject, type JsonValue } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import { envelopeOf, makeEnvelope } from "./envelope.ts";
import type { Answer, Request } from "./request.ts";
import type { RequestState } from "./request-state.ts";

const JSON_TYPE = "application/json";

export function jsonAnswer(status: number, body: JsonValue): Answer {
  return { status, contentType: JSON_TYPE, body: `${escapeForHtml(JSON.stringify(body))}\n` };
}

export function encodeReply(state: RequestState): Answer {
  const { reply, request } = state;
  if (state.wrapInfo) {
    return envelopeAnswer(200, makeEnvelope("", { wrapInfo: { ...state.wrapInfo }, warnings: state.warnings }));
  }
  if (!reply) {
    return state.warnings.length > 0
      ? envelopeAnswer(404, makeEnvelope(request.id, { warnings: state.warnings }))
      : jsonAnswer(404, { errors: [] });
  }
  const headers = reply.headers && { headers: reply.headers };
  if (reply.raw) {
    const { contentType, body } = reply.raw;
    return { status: reply.status ?? 200, contentType, body, ...headers };
  }
  if (reply.bare !== undefined) return { ...jsonAnswer(reply.status ?? 200, reply.bare), ...headers };
  if (reply.envelope) return envelopeAnswer(200, { ...reply.envelope, request_id: request.id });
  if (reply.data === undefined && !state.auth && !state.lease && state.warnings.length === 0) {
    return { status: reply.status ?? 204, contentType: JSON_TYPE, body: undefined };
  }
  const envelope = envelopeOf(state);
  const body = reply.repeatAtTop && reply.data ? { ...reply.data, ...envelope } : envelope;
  return envelopeAnswer(reply.status ?? 200, body);
}

/** Envelopes keep their own order; what is inside is sorted. */
function envelopeAnswer(status: number, envelope: JsonObject): Answer {
  const members = Object.entries(envelope).map(([key, value]) => `${JSON.stringify(key)}:${encodeSorted(value)}`);
  return { status, contentType: JSON_TYPE, body: `${escapeForHtml(`{${members.join(",")}}`)}\n` };
}

/** The answer to a failure. What is no CofferError is a fault of ours: logged with the request's id, told to no one. */
export function encodeError(error: unknown, request: Pick<Request, "id" | "path">, log: Log): Answer {
  if (error instanceof CofferError) {
    if (error.code === "internal") log.error("request failed", { requestId: request.id, error: error.message });
    return jsonAnswer(error.status, { errors: error.message === "" ? [] : [error.message] });
  }
  log.error("unexpected error", { requestId: request.id, path: request.path, error: stackOf(error) });
  return jsonAnswer(500, { errors: [`internal error; the server's log has it under request id ${request.id}`] });
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
