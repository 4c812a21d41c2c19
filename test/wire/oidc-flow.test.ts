// A relying party as it is in the wild, against a real server over HTTP: discovery, the code, the tokens, the keys that
// it fetches by itself, the claims about the user.
import { randomBytes } from "node:crypto";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { objectOf, textOf } from "#test/kit/core.ts";
import { type OpenServer, startDevelopmentServer } from "#test/kit/server.ts";

const BACK = "http://127.0.0.1/callback";
let server: OpenServer;

beforeAll(async () => {
  server = await startDevelopmentServer();
});
afterAll(() => server?.stop());

async function ask(path: string, init: RequestInit = {}): Promise<JsonObject> {
  const answer = await fetch(new URL(path, server.address), init);
  const text = await answer.text();
  const body = text === "" ? {} : parseJson(text);
  if (!answer.ok || !isJsonObject(body)) throw new Error(`${path} answered ${answer.status}: ${text}`);
  return body;
}

const asRoot = (path: string, data: JsonObject) =>
  ask(path, { method: "POST", headers: { "X-Vault-Token": server.rootToken }, body: JSON.stringify(data) });

describe("an OpenID Connect relying party", () => {
  it("learns who a user is", async () => {
    await asRoot("/v1/sys/auth/up", { type: "userpass" });
    await asRoot("/v1/auth/up/users/ann", { password: "pw" });
    const settings = { redirect_uris: [BACK], assignments: ["allow_all"] };
    await asRoot("/v1/identity/oidc/client/app", settings);
    await asRoot("/v1/identity/oidc/provider/p", { issuer: server.address, allowed_client_ids: ["*"] });
    const { data } = await ask("/v1/identity/oidc/client/app", { headers: { "X-Vault-Token": server.rootToken } });
    const client = isJsonObject(data) ? data : {};
    const [id, secret] = [textOf(client, "client_id"), textOf(client, "client_secret")];
    const login = await ask("/v1/auth/up/login/ann", { method: "POST", body: '{"password":"pw"}' });
    const user = textOf(objectOf(login, "auth"), "client_token");

    const discovery = await ask("/v1/identity/oidc/provider/p/.well-known/openid-configuration");
    const page = await fetch(textOf(discovery, "authorization_endpoint"));
    expect(page.status).toBe(200);
    expect(page.headers.get("content-security-policy")).toContain("script-src 'sha256-");
    const nonce = randomBytes(8).toString("hex");
    const wanted = { client_id: id, redirect_uri: `${BACK}`, response_type: "code", scope: "openid", nonce };
    const query = new URLSearchParams({ ...wanted, state: "s" });
    const authorized = await ask(`/v1/identity/oidc/provider/p/authorize?${query}`, {
      headers: { "X-Vault-Token": user },
    });
    expect(authorized["state"]).toBe("s");

    const code = textOf(authorized, "code");
    const tokens = await ask(textOf(discovery, "token_endpoint"), {
      method: "POST",
      headers: { Authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}` },
      body: new URLSearchParams({ grant_type: "authorization_code", code, redirect_uri: BACK }),
    });
    const keys = createRemoteJWKSet(new URL(textOf(discovery, "jwks_uri")));
    const issuer = textOf(discovery, "issuer");
    const { payload } = await jwtVerify(textOf(tokens, "id_token"), keys, { issuer, audience: id });
    expect(payload).toMatchObject({ nonce, sub: objectOf(login, "auth")["entity_id"] });
    const bearer = { Authorization: `Bearer ${textOf(tokens, "access_token")}` };
    expect(await ask(textOf(discovery, "userinfo_endpoint"), { headers: bearer })).toEqual({ sub: payload.sub });
    const refused = await fetch(textOf(discovery, "userinfo_endpoint"), { headers: { Authorization: "Bearer x" } });
    expect(refused.headers.get("www-authenticate")).toContain('error="invalid_token"');
  });
});
