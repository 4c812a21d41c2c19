// What the API server answers when it refuses, as an error whose status and reason callers branch on.
// Format: the Kubernetes API conventions, "Response Status Kind".
import { CofferError, type ErrorCode } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";

/** Longer explanations of the API server are cut: a denied apply of a large object can repeat all of it. */
const MESSAGE_CHARACTERS_MAX = 1000;

/** A refusal of the API server, or `status` 0 with reason "Unreachable" or "Timeout" when no answer came. */
export class KubeError extends CofferError {
  /** CamelCase as the API server spells it: NotFound, AlreadyExists, Conflict, Invalid, Forbidden, Expired, … */
  readonly reason: string;
  readonly details: JsonObject | undefined;
  /** How long the API server asked to wait, in milliseconds. */
  readonly retryAfterMillis: number | undefined;
  readonly #status: number;

  constructor(options: {
    status: number;
    reason: string;
    message: string;
    details?: JsonObject | undefined;
    retryAfterMillis?: number | undefined;
    cause?: unknown;
  }) {
    super(codeOf(options.status), options.message, { cause: options.cause });
    this.name = "KubeError";
    this.#status = options.status;
    this.reason = options.reason;
    this.details = options.details;
    this.retryAfterMillis = options.retryAfterMillis;
  }
  /** The HTTP status that the API server sent, 0 when it sent none. */
  override get status(): number {
    return this.#status;
  }
}

function codeOf(status: number): ErrorCode {
  if (status === 0 || status >= 500) return "upstream_failed";
  if (status === 401 || status === 403) return "permission_denied";
  if (status === 404) return "not_found";
  if (status === 409) return "conflict";
  if (status === 413) return "too_large";
  if (status === 429) return "rate_limited";
  return "invalid_request";
}

/** True when the thrown value is a KubeError with this reason (or one of these). */
export function isKubeError(thrown: unknown, ...reasons: readonly string[]): thrown is KubeError {
  return thrown instanceof KubeError && (reasons.length === 0 || reasons.includes(thrown.reason));
}

/** True when a resource version or a continue token is too old: the collection has to be listed anew. */
export function isExpired(thrown: unknown): boolean {
  return thrown instanceof KubeError && (thrown.status === 410 || thrown.reason === "Expired");
}

/** Makes the error of an answer. `what` is "GET /api/v1/…"; the body is a Status or any text of a proxy. */
export function errorOfAnswer(answer: {
  what: string;
  status: number;
  body: string;
  retryAfter: string | undefined;
}): KubeError {
  const status = statusObject(answer.body);
  const details = isJsonObject(status["details"]) ? status["details"] : undefined;
  const reason = typeof status["reason"] === "string" ? status["reason"] : defaultReason(answer.status);
  return new KubeError({
    status: answer.status,
    reason,
    details,
    retryAfterMillis: retryAfterMillis(answer.retryAfter, details),
    message: `${answer.what}: the API server answered ${answer.status} ${reason}${explanation(answer.what, status)}`,
  });
}

/** Makes the error of a Status object that came inside a watch. */
export function errorOfStatus(what: string, status: JsonObject): KubeError {
  const code = typeof status["code"] === "number" ? status["code"] : 500;
  return errorOfAnswer({ what, status: code, body: JSON.stringify(status), retryAfter: undefined });
}

function statusObject(body: string): JsonObject {
  let value: JsonValue;
  try {
    value = parseJson(body);
  } catch {
    // A proxy in between answers in HTML or text: the HTTP status alone has to do.
    return {};
  }
  return isJsonObject(value) && value["kind"] === "Status" ? value : {};
}

// The decoder of the API server quotes the bytes around a fault, which in a Secret are secret: there only the reason.
function explanation(what: string, status: JsonObject): string {
  if (/\/secrets(\/|\?|$)/.test(what) || typeof status["message"] !== "string") return "";
  return `: ${status["message"].slice(0, MESSAGE_CHARACTERS_MAX)}`;
}

function defaultReason(status: number): string {
  const names: Readonly<Record<number, string>> = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
    504: "Timeout",
  };
  return names[status] ?? "Unknown";
}

function retryAfterMillis(header: string | undefined, details: JsonObject | undefined): number | undefined {
  if (header !== undefined && /^\d{1,6}$/.test(header)) return Number(header) * 1000;
  const seconds = details?.["retryAfterSeconds"];
  return typeof seconds === "number" && seconds > 0 ? seconds * 1000 : undefined;
}
