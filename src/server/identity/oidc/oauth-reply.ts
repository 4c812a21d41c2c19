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
  | "invalid_scope"
  | "invalid_token"
  | "max_age_violation"
  | "request_not_supported"
  | "request_uri_not_supported"
  | "unauthorized_client"
  | "unsupported_grant_type"
  | "unsupported_response_type";

/** Thrown inside the endpoints and answered by `answered`. */
export class OauthFailure extends Error {
  readonly error: OauthError;
  constructor(error: OauthError, description: string) {
    super(description);
    this.name = "OauthFailure";
    this.error = error;
  }
}

const CHALLENGES: Partial<Record<OauthError, string>> = { invalid_client: "Basic", invalid_token: "Bearer" };

/** What the work answers, or the failure it throws as an answer. `state` goes back to the client as it came. */
export async function answered(state: string | undefined, work: () => Promise<Reply>): Promise<Reply> {
  try {
    return await work();
  } catch (failure) {
    if (!(failure instanceof OauthFailure)) throw failure;
    const { error, message } = failure;
    const bare = { error, error_description: message, ...(state !== undefined && { state }) };
    const scheme = CHALLENGES[error];
    if (scheme === undefined) return { status: 400, bare };
    const parameters = scheme === "Bearer" ? ` error="${error}", error_description="${message}"` : "";
    return { status: 401, bare, headers: { "WWW-Authenticate": `${scheme}${parameters}` } };
  }
}
