// What the responder answers when it refuses: the code and HTTP status that AWS uses, in words of each protocol.

/** A refusal as a service spells it. */
export class AwsError extends Error {
  readonly code: string;
  readonly status: number;
  constructor(code: string, message: string, status = 400) {
    super(message);
    this.name = "AwsError";
    this.code = code;
    this.status = status;
  }
}

/** Ways in which the proof of identity fails, before any service sees the request. */
export type AuthFailure = "missing" | "incomplete" | "unknownKey" | "badSignature" | "expiredToken" | "denied";

/** The same failure has another name in JSON services (KMS) and Query services (STS). */
const AUTH_CODES: Readonly<Record<AuthFailure, { json: string; query: string; queryStatus: number }>> = {
  missing: { json: "MissingAuthenticationTokenException", query: "MissingAuthenticationToken", queryStatus: 403 },
  incomplete: { json: "IncompleteSignatureException", query: "IncompleteSignature", queryStatus: 400 },
  unknownKey: { json: "UnrecognizedClientException", query: "InvalidClientTokenId", queryStatus: 403 },
  badSignature: { json: "InvalidSignatureException", query: "SignatureDoesNotMatch", queryStatus: 403 },
  expiredToken: { json: "ExpiredTokenException", query: "ExpiredToken", queryStatus: 403 },
  denied: { json: "AccessDeniedException", query: "AccessDenied", queryStatus: 403 },
};

/** An identity that could not be proven or is not allowed to do this. */
export class AuthError extends Error {
  readonly failure: AuthFailure;
  constructor(failure: AuthFailure, message: string) {
    super(message);
    this.name = "AuthError";
    this.failure = failure;
  }
  /** As the given protocol tells it. */
  as(protocol: "json" | "query"): AwsError {
    const codes = AUTH_CODES[this.failure];
    return protocol === "json"
      ? new AwsError(codes.json, this.message, 400)
      : new AwsError(codes.query, this.message, codes.queryStatus);
  }
}
