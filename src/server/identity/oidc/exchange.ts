// identity/oidc/provider/:name/token: a client exchanges a code, or its own secret, for tokens. OpenID Connect Core 1.0
// section 3.1.3, RFC 6749 section 4.4. The client says who it is; there is no token of the server.
import { createHash } from "node:crypto";
import type { JsonObject } from "#common/json.ts";
import { constantTimeEqual } from "#common/secret-bytes.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import type { PrivilegedContext } from "../../framework/context.ts";
import { field, type Values, withDefault } from "../../framework/fields.ts";
import { definePrivilegedPath } from "../../framework/path.ts";
import type { Reply } from "../../framework/reply.ts";
import { shownId } from "../../namespaces/namespace-scope.ts";
import { namespaceIdOf } from "../../namespaces/namespace-transaction.ts";
import type { AccessTokens } from "./access-tokens.ts";
import { isAssigned } from "./assignments.ts";
import { takeCode } from "./authorization-codes.ts";
import { clientById } from "./client-records.ts";
import { answered, OauthFailure } from "./oauth-reply.ts";
import type { Algorithm, AuthorizationCode, Client, Key, Provider } from "./oidc-records.ts";
import type { OidcServices } from "./oidc-services.ts";
import { providerIssuer, readProvider, serves } from "./provider-records.ts";
import { OPENID, scopeClaims } from "./scopes.ts";
import { readKey, sign } from "./signing-keys.ts";
import { subjectOf } from "./token-paths.ts";

const exchangeFields = {
  grant_type: withDefault(field.text("authorization_code or client_credentials."), ""),
  code: withDefault(field.text("The code."), ""),
  redirect_uri: withDefault(field.text("The same as when the code was asked for."), ""),
  code_verifier: withDefault(field.text("PKCE: what the challenge was made from."), ""),
  client_id: withDefault(field.text("The client, where it does not use HTTP Basic."), ""),
  client_secret: withDefault(field.text("Its secret, where it does not use HTTP Basic."), ""),
  scope: withDefault(field.text("For client_credentials: what is asked for."), ""),
} as const;
type Sent = Values<typeof exchangeFields> & { readonly name: string };

export function exchangePath(services: OidcServices, accessTokens: AccessTokens) {
  return definePrivilegedPath("oidc/provider/:name/token", {
    summary: "Tokens for a client.",
    access: "public",
    fields: exchangeFields,
    operations: {
      update: {
        summary: "Get them.",
        handler: (context, sent) => answered(undefined, () => exchange(context, sent, services, accessTokens)),
      },
    },
  });
}

async function exchange(
  context: PrivilegedContext,
  sent: Sent,
  services: OidcServices,
  accessTokens: AccessTokens,
): Promise<Reply> {
  const { transaction: tx, clock } = context;
  const provider = await readProvider(tx, sent.name);
  if (!provider) throw new OauthFailure("invalid_request", "provider not found");
  const client = await authenticatedClient(context, sent);
  if (!serves(provider, client))
    throw new OauthFailure("invalid_client", "client is not authorized to use the provider");
  const key = await readKey(tx, client.key);
  if (!key) throw new OauthFailure("invalid_request", "the client's key is gone");
  if (!key.allowedClientIds.includes("*") && !key.allowedClientIds.includes(client.clientId))
    throw new OauthFailure("invalid_client", "client is not authorized to use the key");
  const nowSeconds = Math.floor(clock.now() / 1000);
  const issue = {
    tx,
    provider,
    client,
    key,
    nowSeconds,
    issuer: providerIssuer(provider, services, context.scope),
    accessTokens,
  };
  if (sent.grant_type === "authorization_code") return exchangeCode(issue, sent);
  if (sent.grant_type === "client_credentials") return exchangeSecret(issue, sent);
  if (sent.grant_type === "") throw new OauthFailure("invalid_request", "grant_type parameter is required");
  throw new OauthFailure("unsupported_grant_type", "unsupported grant_type value");
}

/** The client, by HTTP Basic or by fields; a public one only says its name. */
async function authenticatedClient(context: PrivilegedContext, sent: Sent): Promise<Client> {
  const { id, secret } = basicOf(context) ?? { id: sent.client_id, secret: sent.client_secret };
  if (id === "") throw new OauthFailure("invalid_request", "client_id parameter is required");
  const client = await clientById(context.transaction, id);
  if (!client || (client.type === "confidential" && !sameText(client.clientSecret, secret)))
    throw new OauthFailure("invalid_client", "client failed to authenticate");
  return client;
}

/** RFC 6749 section 2.3.1: both parts are form-encoded before they are put together. */
function basicOf({ headers }: PrivilegedContext): { id: string; secret: string } | undefined {
  const header = headers?.["authorization"];
  const encoded = typeof header === "string" ? /^Basic +(\S+)$/i.exec(header)?.[1] : undefined;
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const [id = "", ...rest] = text.split(":");
  return { id: formDecoded(id), secret: formDecoded(rest.join(":")) };
}

function formDecoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text; // a client that does not encode
  }
}

function sameText(one: string, other: string): boolean {
  return constantTimeEqual(Buffer.from(one), Buffer.from(other));
}

interface Issue {
  readonly tx: Transaction;
  readonly provider: Provider;
  readonly client: Client;
  readonly key: Key;
  readonly nowSeconds: number;
  readonly issuer: string;
  readonly accessTokens: AccessTokens;
}

async function exchangeCode(issue: Issue, sent: Sent): Promise<Reply> {
  const { tx, provider, client, nowSeconds } = issue;
  if (sent.code === "") throw new OauthFailure("invalid_request", "code parameter is required");
  if (sent.redirect_uri === "") throw new OauthFailure("invalid_request", "redirect_uri parameter is required");
  const code = await takeCode(tx, sent.code, nowSeconds);
  if (!code) throw new OauthFailure("invalid_grant", "authorization grant is invalid or expired");
  if (code.clientId !== client.clientId)
    throw new OauthFailure("invalid_grant", "authorization code was not issued to the client");
  if (code.provider !== provider.name)
    throw new OauthFailure("invalid_grant", "authorization code was not issued by the provider");
  if (code.redirectUri !== sent.redirect_uri)
    throw new OauthFailure(
      "invalid_grant",
      "redirect_uri does not match the redirect_uri used in the authorization request",
    );
  const subject = await subjectOf(tx, code.entityId);
  if (!subject) throw new OauthFailure("invalid_request", "identity entity associated with the request not found");
  if (!(await isAssigned(tx, client, subject)))
    throw new OauthFailure("invalid_request", "identity entity not authorized by client assignment");
  assertVerifier(client, code, sent.code_verifier);
  const claims = await scopeClaims(tx, code.scopes, subject, nowSeconds);
  if (!claims) throw new OauthFailure("invalid_request", "two of the requested scopes set the same claim");
  const accessToken = await newAccessToken(issue, code.entityId, code.scopes);
  const idToken = await newIdToken(issue, {
    ...claims,
    sub: code.entityId,
    at_hash: halfHash(issue.key.algorithm, accessToken),
    c_hash: halfHash(issue.key.algorithm, sent.code),
    ...(code.nonce !== "" && { nonce: code.nonce }),
    ...(code.authTimeSeconds !== undefined && { auth_time: code.authTimeSeconds }),
  });
  return tokensReply(client, accessToken, idToken);
}

/** RFC 7636 section 4.6. */
function assertVerifier(client: Client, { challenge }: AuthorizationCode, verifier: string): void {
  if (!challenge && client.type === "public")
    throw new OauthFailure("invalid_request", "PKCE is required for public clients");
  if (!challenge && verifier !== "")
    throw new OauthFailure("invalid_request", "unexpected code_verifier for token exchange");
  if (!challenge) return;
  if (verifier === "") throw new OauthFailure("invalid_request", "expected code_verifier for token exchange");
  const made = challenge.method === "S256" ? createHash("sha256").update(verifier).digest("base64url") : verifier;
  if (!sameText(made, challenge.value))
    throw new OauthFailure("invalid_grant", "invalid code_verifier for token exchange");
}

/** The client itself is the subject: no user, so no claims about one. */
async function exchangeSecret(issue: Issue, sent: Sent): Promise<Reply> {
  const { client, provider } = issue;
  if (!client.clientCredentials || client.type !== "confidential")
    throw new OauthFailure("unauthorized_client", "client is not authorized to use the client credentials flow");
  const wanted = sent.scope.split(/\s+/).filter(Boolean);
  const scopes = wanted.filter((name) => provider.scopesSupported.includes(name));
  const accessToken = await newAccessToken(issue, "", scopes);
  if (!wanted.includes(OPENID)) return tokensReply(client, accessToken);
  const at_hash = halfHash(issue.key.algorithm, accessToken);
  return tokensReply(client, accessToken, await newIdToken(issue, { sub: client.clientId, at_hash }));
}

function newAccessToken(issue: Issue, entityId: string, scopes: readonly string[]): Promise<string> {
  const { tx, provider, client, nowSeconds, accessTokens } = issue;
  return accessTokens.seal(tx, {
    provider: provider.name,
    clientId: client.clientId,
    entityId,
    scopes,
    expiresAtSeconds: nowSeconds + client.accessTokenTtlSeconds,
  });
}

function newIdToken({ tx, key, client, issuer, nowSeconds }: Issue, claims: JsonObject): Promise<string> {
  const always = { iss: issuer, namespace: shownId(namespaceIdOf(tx)), aud: client.clientId, iat: nowSeconds };
  return sign(tx, key, { ...claims, ...always, exp: nowSeconds + client.idTokenTtlSeconds }, nowSeconds);
}

/** OpenID Connect Core 1.0 section 3.1.3.6: the left half of the hash that the signature uses; Ed25519 uses SHA-512. */
function halfHash(algorithm: Algorithm, text: string): string {
  const bits = algorithm === "EdDSA" ? "512" : algorithm.slice(2);
  const hash = createHash(`sha${bits}`).update(text).digest();
  return hash.subarray(0, hash.length / 2).toString("base64url");
}

function tokensReply(client: Client, accessToken: string, idToken?: string): Reply {
  const expires_in = client.accessTokenTtlSeconds;
  const idTokenMember = idToken !== undefined && { id_token: idToken };
  const bare = { access_token: accessToken, expires_in, ...idTokenMember, token_type: "Bearer" };
  // OpenID Connect Core 1.0 section 3.1.3.3; Cache-Control is on every answer of the server.
  return { bare, headers: { Pragma: "no-cache" } };
}
