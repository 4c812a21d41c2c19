// TokenReview: asks a cluster's API server whose a token is (authentication.k8s.io/v1). One POST over node:https with
// connections kept open, a time limit and a size limit. Knows nothing of roles.
import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { messageOf } from "#common/errors.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { boolean, list, object, string, withDefault } from "#common/schema.ts";
import type { ServiceAccount } from "./claims.ts";

/** An API server answers in milliseconds; clients of a login wait for no longer than this. */
const REVIEW_TIMEOUT_MILLIS = 10_000;
/** A TokenReview repeats the token; 256 KiB is far more than any. */
export const REVIEW_BYTES_MAX = 256 * 1024;
const REVIEW_PATH = "/apis/authentication.k8s.io/v1/tokenreviews";

export interface ReviewRequest {
  /** Base URL of the API server. */
  readonly host: string;
  /** CA as PEM; undefined for the system's. */
  readonly ca: string | undefined;
  /** The token that asks. */
  readonly bearer: string;
  /** The token that is asked about. */
  readonly jwt: string;
  readonly audiences: readonly string[];
}

export type ReviewOutcome =
  | { readonly kind: "authenticated"; readonly account: ServiceAccount; readonly audiences: readonly string[] }
  | { readonly kind: "refused"; readonly reason: string }
  /** The cluster could not be asked, or did not let us ask. */
  | { readonly kind: "failed"; readonly reason: string };

export type Reviewer = (request: ReviewRequest) => Promise<ReviewOutcome>;

const statusSchema = object({
  authenticated: withDefault(boolean, false),
  error: withDefault(string, ""),
  audiences: withDefault(list(string), []),
  user: withDefault(object({ username: withDefault(string, ""), uid: withDefault(string, "") }), {
    username: "",
    uid: "",
  }),
});

/** A reviewer with its own pool of connections. Never throws: what goes wrong is an outcome. */
export function createReviewer(): Reviewer {
  const agents = { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) };
  return async (request) => {
    try {
      const { status, body } = await post(request, agents);
      if (status === 401 || status === 403)
        return { kind: "failed", reason: `the API server does not let the reviewer review (${status})` };
      if (status !== 200 && status !== 201) return { kind: "failed", reason: `the API server answered ${status}` };
      return outcomeOf(body);
    } catch (error) {
      return { kind: "failed", reason: messageOf(error) };
    }
  };
}

function post(
  { host, ca, bearer, jwt, audiences }: ReviewRequest,
  agents: { http: HttpAgent; https: HttpsAgent },
): Promise<{ status: number; body: string }> {
  const url = new URL(REVIEW_PATH, host);
  const spec = { token: jwt, ...(audiences.length > 0 && { audiences }) };
  const body = JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec });
  const secure = url.protocol === "https:";
  const options: RequestOptions & { ca?: string } = {
    method: "POST",
    agent: secure ? agents.https : agents.http,
    signal: AbortSignal.timeout(REVIEW_TIMEOUT_MILLIS),
    headers: {
      Authorization: `Bearer ${bearer}`,
      "Content-Type": "application/json",
      Accept: "application/json",
      "Content-Length": Buffer.byteLength(body),
    },
    ...(ca !== undefined && { ca }),
  };
  return new Promise((resolve, reject) => {
    const sent = (secure ? httpsRequest : httpRequest)(url, options, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > REVIEW_BYTES_MAX) sent.destroy(new Error("the API server's answer is too large"));
        else chunks.push(chunk);
      });
      response.on("error", reject);
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") });
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
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
