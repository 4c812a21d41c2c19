// Errors as OAuth 2.0 has them (RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3). They are answers and not
// exceptions: what the request has used up, such as a code, stays used.
import type { Reply } from "../../framework/reply.ts";

export type OauthError =
  | "access_denied"
  | "invalid_client"
  | "invalid_client_id"
  | "invalid_grant"
  | "invalid_redirect_uri"
  | "invalid_request"
  | "invalid_token"
  | "max_age_violation"
  | "request_not_supported"
  | "request_uri_not_supported"
  | "unauthorized_client"
  | "unsupported_grant_type"
  | "unsupported_response_type";

const CHALLENGES: Partial<Record<OauthError, string>> = { invalid_client: "Basic", invalid_token: "Bearer" };

/** Thrown inside the endpoints and answered by `answered`. */
export class OauthFailure extends Error {
  readonly error: OauthError;
  readonly status: number;
  constructor(error: OauthError, description: string, status = CHALLENGES[error] === undefined ? 400 : 401) {
    super(description);
    this.name = "OauthFailure";
    this.error = error;
    this.status = status;
  }
}

/** What the work answers, or the failure it throws as an answer. `state` goes back to the client as it came. */
export async function answered(state: string | undefined, work: () => Promise<Reply>): Promise<Reply> {
  try {
    return await work();
  } catch (failure) {
    if (!(failure instanceof OauthFailure)) throw failure;
    const { error, message, status } = failure;
    const bare = { error, error_description: message, ...(state !== undefined && { state }) };
    const scheme = CHALLENGES[error];
    if (scheme === undefined) return { status, bare };
    const parameters = scheme === "Bearer" ? ` error="${error}", error_description="${message}"` : "";
    return { status, bare, headers: { "WWW-Authenticate": `${scheme}${parameters}` } };
  }
}
