// identity/oidc/provider/:name/userinfo: claims about the user of an access token. OpenID Connect Core 1.0 section 5.3.
import type { PrivilegedContext } from "../../framework/context.ts";
import { definePrivilegedPath } from "../../framework/path.ts";
import type { Reply } from "../../framework/reply.ts";
import type { AccessTokens } from "./access-tokens.ts";
import { isAssigned } from "./assignments.ts";
import { clientById } from "./client-records.ts";
import { answered, OauthFailure } from "./oauth-reply.ts";
import { readProvider, serves } from "./provider-records.ts";
import { scopeClaims } from "./scopes.ts";
import { subjectOf } from "./token-paths.ts";

export function userinfoPath(accessTokens: AccessTokens) {
  const handler = (context: PrivilegedContext, { name }: { readonly name: string }): Promise<Reply> =>
    answered(undefined, () => userinfo(context, name, accessTokens));
  return definePrivilegedPath("oidc/provider/:name/userinfo", {
    summary: "Claims about the user of an access token.",
    description: "Takes the access token of a provider as a bearer token; the server's own tokens have no use here.",
    access: "public",
    operations: { read: { summary: "Get them.", handler }, update: { summary: "Get them.", handler } },
  });
}

async function userinfo(context: PrivilegedContext, name: string, accessTokens: AccessTokens): Promise<Reply> {
  const { transaction: tx, clientToken, clock } = context;
  const nowSeconds = Math.floor(clock.now() / 1000);
  const provider = await readProvider(tx, name);
  if (!provider) throw new OauthFailure("invalid_request", "provider not found");
  const token = await accessTokens.open(tx, clientToken, nowSeconds);
  if (!token || token.provider !== name)
    throw new OauthFailure("invalid_token", "access token is malformed or expired");
  const client = await clientById(tx, token.clientId);
  if (!client) throw new OauthFailure("access_denied", "client not found", 403);
  if (!serves(provider, client))
    throw new OauthFailure("access_denied", "client is not authorized to use the provider", 403);
  if (token.entityId === "") return { bare: { sub: client.clientId } };
  const subject = await subjectOf(tx, token.entityId);
  if (!subject) throw new OauthFailure("access_denied", "identity entity associated with the request not found", 403);
  if (!(await isAssigned(tx, client, subject)))
    throw new OauthFailure("access_denied", "identity entity not authorized by client assignment", 403);
  const claims = await scopeClaims(tx, token.scopes, subject, nowSeconds);
  if (!claims) throw new OauthFailure("invalid_request", "two of the requested scopes set the same claim");
  return { bare: { ...claims, sub: subject.entity.id } };
}
