// Tokens of service accounts: asking for one in an account's name and asking whether one is real. The API server does
// both; here are only the two messages. Format: authentication.k8s.io/v1 TokenRequest and TokenReview.
import type { Seconds } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { boolean, list, object, optional, string, withDefault } from "#common/schema.ts";
import type { KubeClient } from "./kube-client.ts";
import { collectionPath, type ObjectRef, objectPath } from "./kube-object.ts";
import { SERVICE_ACCOUNT, TOKEN_REVIEW } from "./resource-kinds.ts";

export interface ServiceAccountToken {
  readonly token: string;
  /** RFC 3339; the API server may have shortened or stretched what was asked for. */
  readonly expirationTimestamp: string;
}
export interface TokenReview {
  readonly authenticated: boolean;
  /** "system:serviceaccount:<namespace>:<name>" */
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  /** Those of the asked audiences that the token is for. */
  readonly audiences: readonly string[];
  /** Why not, when not authenticated. */
  readonly error?: string | undefined;
}

/** The API server refuses shorter ones. */
export const TOKEN_SECONDS_MIN: Seconds = 600;

const issued = object({ status: object({ token: string, expirationTimestamp: string }) });
const user = object({
  username: withDefault(string, ""),
  uid: withDefault(string, ""),
  groups: withDefault(list(string), []),
});
const reviewed = object({
  status: object({
    authenticated: withDefault(boolean, false),
    user: withDefault(user, { username: "", uid: "", groups: [] }),
    audiences: withDefault(list(string), []),
    error: optional(string),
  }),
});

/** Makes a token of a service account for some audiences. Throws `KubeError`, `invalid_request` for too short a life. */
export async function requestToken(
  client: KubeClient,
  account: ObjectRef,
  options: { audiences: readonly string[]; expirationSeconds: Seconds; signal?: AbortSignal },
): Promise<ServiceAccountToken> {
  if (options.expirationSeconds < TOKEN_SECONDS_MIN)
    throw new CofferError("invalid_request", `expirationSeconds must be at least ${TOKEN_SECONDS_MIN}`);
  const spec = { audiences: options.audiences, expirationSeconds: options.expirationSeconds };
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
  const path = objectPath(SERVICE_ACCOUNT, account, "token");
  return issued.parse(await client.request("POST", path, body, { signal: options.signal })).status;
}

/** Asks whose token it is. Throws `KubeError`; a token that is not accepted is an answer, no error. */
export async function reviewToken(
  client: KubeClient,
  token: string,
  options: { audiences?: readonly string[]; signal?: AbortSignal } = {},
): Promise<TokenReview> {
  const spec: JsonObject = { token, ...(options.audiences === undefined ? {} : { audiences: options.audiences }) };
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec };
  const answer = await client.request("POST", collectionPath(TOKEN_REVIEW), body, { signal: options.signal });
  const { status } = reviewed.parse(withoutToken(answer));
  return { ...status.user, authenticated: status.authenticated, audiences: status.audiences, error: status.error };
}

// The answer repeats the token; nothing that may be logged should hold it.
function withoutToken(answer: JsonValue): JsonValue {
  return isJsonObject(answer) ? { status: answer["status"] ?? null } : answer;
}
