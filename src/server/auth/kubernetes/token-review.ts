// TokenReview: asks a cluster's API server whose a token is (authentication.k8s.io/v1). Knows nothing of roles.
import { messageOf } from "#common/errors.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { boolean, list, object, string, withDefault } from "#common/schema.ts";
import type { ApiServer, CallApi } from "./api-server.ts";
import type { ServiceAccount } from "./claims.ts";

const REVIEW_PATH = "/apis/authentication.k8s.io/v1/tokenreviews";

export interface ReviewRequest {
  readonly server: ApiServer;
  /** The token that is asked about. */
  readonly jwt: string;
  readonly audiences: readonly string[];
}

export type ReviewOutcome =
  | { readonly kind: "authenticated"; readonly account: ServiceAccount; readonly audiences: readonly string[] }
  | { readonly kind: "refused"; readonly reason: string }
  /** The cluster could not be asked, or did not let us ask. */
  | { readonly kind: "failed"; readonly reason: string };

const statusSchema = object({
  authenticated: withDefault(boolean, false),
  error: withDefault(string, ""),
  audiences: withDefault(list(string), []),
  user: withDefault(object({ username: withDefault(string, ""), uid: withDefault(string, "") }), {
    username: "",
    uid: "",
  }),
});

/** Never throws: what goes wrong is an outcome. */
export async function reviewToken(call: CallApi, { server, jwt, audiences }: ReviewRequest): Promise<ReviewOutcome> {
  const spec = { token: jwt, ...(audiences.length > 0 && { audiences }) };
  const review = JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec });
  try {
    const { status, body } = await call(server, { method: "POST", path: REVIEW_PATH, body: review });
    if (status === 401 || status === 403)
      return { kind: "failed", reason: `the API server does not let the reviewer review (${status})` };
    if (status !== 200 && status !== 201) return { kind: "failed", reason: `the API server answered ${status}` };
    return outcomeOf(body);
  } catch (error) {
    return { kind: "failed", reason: messageOf(error) };
  }
}

function outcomeOf(body: string): ReviewOutcome {
  const review = parseJson(body);
  const status = statusSchema.parse(isJsonObject(review) ? review["status"] : undefined, "status");
  if (!status.authenticated) return { kind: "refused", reason: status.error || "the token is not authenticated" };
  const [system, kind, namespace, name, ...rest] = status.user.username.split(":");
  if (system !== "system" || kind !== "serviceaccount" || !namespace || !name || rest.length > 0)
    return { kind: "refused", reason: "the token is not one of a service account" };
  return {
    kind: "authenticated",
    account: { namespace, name, uid: status.user.uid },
    audiences: status.audiences,
  };
}
