// The one table of error codes: what each means and the HTTP status it becomes. Callers match codes, never messages.
// Messages are lower case, name the thing, say what to do next, and hold no secret.

const TABLE = {
  invalid_request: {
    status: 400,
    doc: "The request is malformed or a field has a wrong value; the message names the field.",
  },
  permission_denied: { status: 403, doc: "No policy of the token allows this, or there is no valid token." },
  not_found: { status: 404, doc: "There is nothing at this path." },
  unsupported_path: { status: 404, doc: "The mount has no such path." },
  unsupported_operation: { status: 405, doc: "The path exists but not with this method." },
  timeout: { status: 408, doc: "The request did not arrive within the time that a request may take." },
  precondition_failed: { status: 412, doc: "The listener wants the header X-Vault-Request: true." },
  too_large: { status: 413, doc: "The request is larger than the limit." },
  unsupported_media_type: { status: 415, doc: "PATCH wants the content type application/merge-patch+json." },
  rate_limited: { status: 429, doc: "A quota is used up; try again later." },
  internal: { status: 500, doc: "A fault of the server; its log has the details under the id in the message." },
  audit_failed: { status: 500, doc: "No audit device accepted the entry, so the request was not answered." },
  upstream_failed: { status: 502, doc: "A service that the request depends on failed." },
  sealed: { status: 503, doc: "The server is sealed and cannot read its storage." },
  uninitialized: { status: 503, doc: "The server has not been initialised." },
  unavailable: { status: 503, doc: "The server cannot do this at the moment; try again." },
  unconfirmed: {
    status: 503,
    doc: "The storage did not confirm a write, which may or may not have been done; look, then try again.",
  },
  conflict: { status: 503, doc: "Other requests kept changing what this one read; try again." },
} as const;

export type ErrorCode = keyof typeof TABLE;

/** A failure that ends a request, with a code from the table. `details` are more lines for the client's `errors`. */
export class CofferError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "CofferError";
    this.code = code;
  }
  get status(): number {
    return TABLE[this.code].status;
  }
}

/** Every code with its status and its sentence, for docs and tests. */
export function errorCodes(): readonly { code: ErrorCode; status: number; doc: string }[] {
  return Object.entries(TABLE).map(([code, { status, doc }]) => ({ code: code as ErrorCode, status, doc }));
}

/** The message of whatever was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
