// A stand-in for a cluster's TokenReview (authentication.k8s.io/v1) where only logins are tested and no cluster runs.
// It believes a JWT whose issuer is "conform" unless it has expired or its signature part begins with "bad"; signatures
// are not checked. Whoever asks must show a bearer token, and "denied" is refused as the cluster's RBAC would.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { systemClock } from "#common/clock.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";

const REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews";
const TRUSTED_ISSUER = "conform";

export interface TokenReviewServer {
  /** Such as http://127.0.0.1:40123. */
  readonly address: string;
  close(): Promise<void>;
}

export async function startTokenReviewServer(): Promise<TokenReviewServer> {
  const server = createServer((message, response) => void answer(message, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("a TCP server has a port");
  return {
    address: `http://127.0.0.1:${bound.port}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

async function answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(Buffer.from(chunk));
  const bearer = (message.headers.authorization ?? "").replace(/^Bearer /, "");
  if (bearer === "") return refuse(response, 401, "Unauthorized");
  if (bearer === "denied") return refuse(response, 403, "Forbidden");
  if (message.method !== "POST" || message.url !== REVIEWS) return refuse(response, 404, "NotFound");
  const review = objectOf(parseJson(Buffer.concat(chunks).toString("utf8")));
  const spec = objectOf(review["spec"]);
  send(response, 201, { ...review, status: judge(textOf(spec["token"]), textsOf(spec["audiences"])) });
}

function judge(token: string, wanted: readonly string[]): JsonObject {
  const claims = claimsOf(token);
  if (claims === undefined || isRefused(token, claims)) return { user: {}, error: "invalid bearer token" };
  const held = textsOf(claims["aud"]);
  const audiences = wanted.length === 0 ? held : wanted.filter((audience) => held.includes(audience));
  if (audiences.length === 0 && wanted.length > 0) {
    const reason = `token audiences [${held.join(" ")}] is invalid for the target audiences [${wanted.join(" ")}]`;
    return { user: {}, error: reason };
  }
  return { authenticated: true, audiences, user: userOf(claims) };
}

function isRefused(token: string, claims: JsonObject): boolean {
  const expires = claims["exp"];
  const expired = typeof expires === "number" && expires * 1000 < systemClock.now();
  return claims["iss"] !== TRUSTED_ISSUER || expired || (token.split(".")[2] ?? "").startsWith("bad");
}

function userOf(claims: JsonObject): JsonObject {
  const bound = objectOf(claims["kubernetes.io"]);
  const account = objectOf(bound["serviceaccount"]);
  // Tokens of old, from Secrets, have flat claims.
  const flat = (name: string) => textOf(claims[`kubernetes.io/serviceaccount/${name}`]);
  const namespace = textOf(bound["namespace"]) || flat("namespace");
  const name = textOf(account["name"]) || flat("service-account.name");
  return {
    username: `system:serviceaccount:${namespace}:${name}`,
    uid: textOf(account["uid"]) || flat("service-account.uid"),
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
  };
}

function claimsOf(token: string): JsonObject | undefined {
  try {
    const claims = parseJson(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8"));
    return isJsonObject(claims) ? claims : undefined;
  } catch {
    return undefined;
  }
}

function refuse(response: ServerResponse, code: number, reason: string): void {
  send(response, code, { kind: "Status", apiVersion: "v1", status: "Failure", reason, code });
}

function send(response: ServerResponse, code: number, body: JsonObject): void {
  response.writeHead(code, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

function textsOf(value: JsonValue | undefined): readonly string[] {
  if (typeof value === "string") return [value];
  return isJsonArray(value) ? value.map(textOf) : [];
}

/** A token as the API server would project it into a pod, for that audience; it is good for ten minutes. */
export function projectedToken(audience: string, namespace: string, account: string): string {
  const claims = {
    iss: TRUSTED_ISSUER,
    aud: [audience],
    exp: Math.floor(systemClock.now() / 1000) + 600,
    "kubernetes.io": { namespace, serviceaccount: { name: account, uid: "1" } },
  };
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "RS256" })}.${part(claims)}.sig`;
}
