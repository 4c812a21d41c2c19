// What a call to the API fails with: the server's refusal, or the reason why no answer came. Callers match `status` and
// `connection`, never the message. A message names method and path, and never holds a token or a value.
import type { JsonValue } from "#common/json.ts";

/** Why no answer arrived. */
export type ConnectionFailure =
  | "refused"
  | "unknown_host"
  | "timeout"
  | "closed"
  | "untrusted_certificate"
  | "not_tls"
  | "too_large"
  | "malformed";

export interface ApiErrorOptions {
  readonly method: string;
  readonly path: string;
  readonly address: string;
  /** 0 when there was no answer. */
  readonly status: number;
  readonly errors: readonly string[];
  readonly body?: JsonValue | undefined;
  readonly connection?: ConnectionFailure | undefined;
  readonly cause?: unknown;
}

const CONNECTION_TEXT: Readonly<Record<ConnectionFailure, string>> = {
  refused: "nothing accepts connections there",
  unknown_host: "the host name does not resolve",
  timeout: "no answer in time",
  closed: "the connection broke before the answer was complete",
  untrusted_certificate: "the server's certificate is not trusted",
  not_tls: "the server does not speak TLS on this port",
  too_large: "the answer is larger than the limit",
  malformed: "the answer is not what this API sends",
};

/** A call that did not succeed. */
export class ApiError extends Error {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** The server's own lines. */
  readonly errors: readonly string[];
  /** Whether the same call may succeed later without anyone changing it. */
  readonly retryable: boolean;
  readonly method: string;
  /** Logical path, without "/v1/". */
  readonly path: string;
  readonly address: string;
  readonly connection: ConnectionFailure | undefined;
  /** The answer's JSON, when there was any (a deleted version of a secret comes with status 404 and its metadata). */
  readonly body: JsonValue | undefined;

  constructor(options: ApiErrorOptions) {
    super(describe(options), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ApiError";
    this.status = options.status;
    this.errors = options.errors;
    this.retryable = isRetryable(options);
    this.method = options.method;
    this.path = options.path;
    this.address = options.address;
    this.connection = options.connection;
    this.body = options.body;
  }
}

/** True for a refusal with this HTTP status. */
export function hasStatus(thrown: unknown, status: number): thrown is ApiError {
  return thrown instanceof ApiError && thrown.status === status;
}

function describe(options: ApiErrorOptions): string {
  const call = `${options.method} ${options.path}`;
  if (options.connection !== undefined) {
    const detail = options.errors.length > 0 ? ` (${options.errors.join("; ")})` : "";
    return `${call} at ${options.address}: ${CONNECTION_TEXT[options.connection]}${detail}`;
  }
  const lines = options.errors.map((line) => line.trim()).filter((line) => line !== "");
  return `${call}: ${lines.length > 0 ? lines.join("; ") : defaultText(options.status)} (status ${options.status})`;
}

function defaultText(status: number): string {
  if (status === 404) return "there is nothing at this path";
  if (status === 403) return "permission denied";
  return "the server gave no reason";
}

function isRetryable({ status, connection }: ApiErrorOptions): boolean {
  if (connection !== undefined) return connection !== "too_large" && connection !== "malformed";
  return status === 412 || status === 429 || (status >= 500 && status !== 501);
}
