// The envelope around every logical answer, in the order and with the nulls that clients know.
import type { JsonObject, JsonValue } from "#common/json.ts";
import type { RequestState } from "./request-state.ts";

export interface EnvelopeParts {
  readonly leaseId?: string;
  readonly renewable?: boolean;
  readonly leaseSeconds?: number;
  readonly data?: JsonValue;
  readonly wrapInfo?: JsonValue;
  readonly warnings?: readonly string[];
  readonly auth?: JsonValue;
}

export function makeEnvelope(requestId: string, parts: EnvelopeParts): JsonObject {
  return {
    request_id: requestId,
    lease_id: parts.leaseId ?? "",
    renewable: parts.renewable ?? false,
    lease_duration: parts.leaseSeconds ?? 0,
    data: parts.data ?? null,
    wrap_info: parts.wrapInfo ?? null,
    warnings: parts.warnings && parts.warnings.length > 0 ? parts.warnings : null,
    auth: parts.auth ?? null,
  };
}

/** The envelope of what a request came to, wrapping aside. */
export function envelopeOf(state: RequestState): JsonObject {
  const { reply, lease, auth } = state;
  return makeEnvelope(state.request.id, {
    leaseId: lease?.leaseId ?? "",
    renewable: lease?.renewable ?? false,
    leaseSeconds: lease?.seconds ?? reply?.leaseSeconds ?? 0,
    data: reply?.data ?? null,
    warnings: state.warnings,
    auth: auth ? { ...auth } : null,
  });
}
