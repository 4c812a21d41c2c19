// identity/oidc/provider/:name/authorize: a user who is logged in here gets a code for a client. OpenID Connect Core 1.0
// section 3.1.2, RFC 7636 (PKCE), RFC 8252 section 7.3 (ports of native applications).
import type { Transaction } from "../../barrier/transaction.ts";
import type { PrivilegedContext } from "../../framework/context.ts";
import { field, type Values, withDefault } from "../../framework/fields.ts";
import { definePrivilegedPath } from "../../framework/path.ts";
import type { Reply } from "../../framework/reply.ts";
import { isAssigned } from "./assignments.ts";
import { newCode } from "./authorization-codes.ts";
import { clientById } from "./client-records.ts";
import { answered, OauthFailure } from "./oauth-reply.ts";
import type { AuthorizationCode, Client, Provider } from "./oidc-records.ts";
import type { OidcServices } from "./oidc-services.ts";
import { readProvider, serves } from "./provider-records.ts";
import { OPENID } from "./scopes.ts";
import { subjectOf } from "./token-paths.ts";

/** RFC 7636 section 4.2. */
const CHALLENGE_LENGTH_MIN = 43;
const CHALLENGE_LENGTH_MAX = 128;
/** Both are stored with the code. */
const NONCE_LENGTH_MAX = 1_024;

const authorizeFields = {
  client_id: withDefault(field.text("The client."), ""),
  scope: withDefault(field.text('Scopes, with spaces between them; "openid" is one of them.'), ""),
  redirect_uri: withDefault(field.text("Where the user is sent back to; one of the client's."), ""),
  response_type: withDefault(field.text('"code".'), ""),
  state: withDefault(field.text("Comes back as it is."), ""),
  nonce: withDefault(field.text("Stands in the identity token as it is."), ""),
  max_age: field.integer("Seconds since the user last logged in, at most."),
  code_challenge: withDefault(field.text("PKCE; public clients must send it."), ""),
  code_challenge_method: withDefault(field.text("plain or S256."), "plain"),
  request: field.text("Not supported."),
  request_uri: field.text("Not supported."),
} as const;

type Wanted = Values<typeof authorizeFields>;

export function authorizePath(services: OidcServices) {
  const handler = (context: PrivilegedContext, values: Wanted & { readonly name: string }): Promise<Reply> =>
    answered(values.state, () => authorize(context, values, services));
  return definePrivilegedPath("oidc/provider/:name/authorize", {
    summary: "A code for a client, by which it learns who the caller is.",
    fields: authorizeFields,
    operations: { read: { summary: "Get one.", handler }, update: { summary: "Get one.", handler } },
  });
}

async function authorize(
  context: PrivilegedContext,
  values: Wanted & { readonly name: string },
  services: OidcServices,
): Promise<Reply> {
  const { transaction: tx, caller } = context;
  const nowSeconds = Math.floor(context.clock.now() / 1000);
  const client = await clientOf(tx, values);
  assertRedirect(client, values.redirect_uri);
  const provider = await providerOf(tx, values.name, client);
  const scopes = scopesOf(provider, values);
  if (values.nonce.length > NONCE_LENGTH_MAX)
    throw new OauthFailure("invalid_request", `nonce is longer than ${NONCE_LENGTH_MAX} characters`);
  if (!caller?.entityId) throw new OauthFailure("access_denied", "identity entity must be associated with the request");
  const subject = await subjectOf(tx, caller.entityId);
  if (!subject) throw new OauthFailure("access_denied", "identity entity associated with the request not found");
  if (!(await isAssigned(tx, client, subject)))
    throw new OauthFailure("access_denied", "identity entity not authorized by client assignment");
  const challenge = challengeOf(client, values);
  const code: Omit<AuthorizationCode, "expiresAtSeconds"> = {
    provider: provider.name,
    clientId: client.clientId,
    entityId: subject.entity.id,
    redirectUri: values.redirect_uri,
    scopes,
    nonce: values.nonce,
    authTimeSeconds: await authTime(context, values.max_age, services, nowSeconds),
    challenge,
  };
  const text = await newCode(tx, code, nowSeconds);
  return { bare: { code: text, state: values.state } };
}

/** Scopes that the provider does not know are left out, as the standard has it. */
function scopesOf(provider: Provider, { scope, response_type, request, request_uri }: Wanted): readonly string[] {
  if (request !== undefined) throw new OauthFailure("request_not_supported", "request parameter is not supported");
  if (request_uri !== undefined)
    throw new OauthFailure("request_uri_not_supported", "request_uri parameter is not supported");
  const wanted = new Set(scope.split(/\s+/).filter(Boolean));
  if (!wanted.has(OPENID))
    throw new OauthFailure("invalid_request", `scope parameter must contain the "${OPENID}" value`);
  if (response_type === "") throw new OauthFailure("invalid_request", "response_type parameter is required");
  if (response_type !== "code") throw new OauthFailure("unsupported_response_type", "unsupported response_type value");
  return [...wanted].filter((name) => provider.scopesSupported.includes(name)).sort();
}

async function clientOf(tx: Transaction, { client_id }: Wanted): Promise<Client> {
  if (client_id === "") throw new OauthFailure("invalid_client_id", "client_id parameter is required");
  const client = await clientById(tx, client_id);
  if (!client) throw new OauthFailure("invalid_client_id", "client with client_id not found");
  return client;
}

async function providerOf(tx: Transaction, name: string, client: Client): Promise<Provider> {
  const provider = await readProvider(tx, name);
  if (!provider) throw new OauthFailure("invalid_request", "provider not found");
  if (!serves(provider, client))
    throw new OauthFailure("unauthorized_client", "client is not authorized to use the provider");
  if (!client.authorizationCode)
    throw new OauthFailure("unauthorized_client", "client is not authorized to use the authorization code flow");
  return provider;
}

function assertRedirect(client: Client, wanted: string): void {
  if (wanted === "") throw new OauthFailure("invalid_request", "redirect_uri parameter is required");
  if (client.redirectUris.includes(wanted)) return;
  const loopback = withoutLoopbackPort(wanted);
  if (loopback !== undefined && client.redirectUris.some((uri) => withoutLoopbackPort(uri) === loopback)) return;
  throw new OauthFailure("invalid_redirect_uri", "redirect_uri is not allowed for the client");
}

/** Programs on the user's machine take whatever port is free. Undefined for any other URI. */
function withoutLoopbackPort(uri: string): string | undefined {
  const match = /^(https?:\/\/(?:127\.0\.0\.1|\[::1\]|localhost))(?::\d{1,5})?(\/.*)?$/.exec(uri);
  return match ? `${match[1]}${match[2] ?? ""}` : undefined;
}

function challengeOf(client: Client, values: Wanted): AuthorizationCode["challenge"] {
  const { code_challenge: value, code_challenge_method: method } = values;
  if (value === "") {
    if (client.type === "public") throw new OauthFailure("invalid_request", "PKCE is required for public clients");
    return undefined;
  }
  if (method !== "plain" && method !== "S256")
    throw new OauthFailure("invalid_request", "invalid code_challenge_method");
  if (value.length < CHALLENGE_LENGTH_MIN || value.length > CHALLENGE_LENGTH_MAX)
    throw new OauthFailure("invalid_request", "invalid code_challenge");
  return { method, value };
}

/** When the caller logged in, where the client wants to know. */
async function authTime(
  { transaction: tx, clientToken }: PrivilegedContext,
  maxAge: number | undefined,
  { tokens }: OidcServices,
  nowSeconds: number,
): Promise<number | undefined> {
  if (maxAge === undefined) return undefined;
  if (maxAge <= 0) throw new OauthFailure("invalid_request", "max_age must be greater than zero");
  // Without a token of its own the request itself has just logged in.
  const loggedIn = (await tokens.find(tx, clientToken))?.issuedAtSeconds ?? nowSeconds;
  if (nowSeconds - loggedIn > maxAge)
    throw new OauthFailure("max_age_violation", "active re-authentication is required by max_age");
  return loggedIn;
}
