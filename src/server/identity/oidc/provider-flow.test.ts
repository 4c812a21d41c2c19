import { createHash, randomBytes } from "node:crypto";
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import { beforeEach, describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Core, startCore, textOf } from "#test/kit/core.ts";
import { CODE_SECONDS } from "./authorization-codes.ts";

const PROVIDER = "identity/oidc/provider/default";
const ISSUER = `https://coffer.example:8200/v1/${PROVIDER}`;
const BACK = "https://app.example/callback";

let core: Core;
let user: string;
let entityId: string;
let client: JsonObject;

beforeEach(async () => {
  core = await startCore({ sanitizedConfig: { api_addr: "https://coffer.example:8200" } });
  await core.root("update", "sys/auth/up", { type: "userpass" });
  await core.root("update", "auth/up/users/ann", { password: "pw" });
  const login = await core.send("", "update", "auth/up/login/ann", { password: "pw" });
  user = textOf(login.auth, "client_token");
  entityId = textOf(login.auth, "entity_id");
  await core.root("update", "identity/oidc/key/k", { algorithm: "ES256", allowed_client_ids: "*" });
  client = await makeClient("app");
});

async function makeClient(name: string, data: JsonObject = {}): Promise<JsonObject> {
  const settings = { key: "k", redirect_uris: [BACK], assignments: ["allow_all"], id_token_ttl: "1h", ...data };
  await core.root("update", `identity/oidc/client/${name}`, settings);
  return (await core.root("read", `identity/oidc/client/${name}`)).data;
}

function authorize(data: JsonObject = {}, token = user) {
  const { client_id } = client;
  const asked = { client_id: client_id ?? "", scope: "openid", response_type: "code", redirect_uri: BACK, ...data };
  return core.send(token, "read", `${PROVIDER}/authorize`, asked);
}

async function codeFor(data: JsonObject = {}): Promise<string> {
  const { body } = await authorize(data);
  return textOf(body, "code");
}

function exchange(data: JsonObject, credentials: JsonObject = client) {
  const { client_id, client_secret } = credentials;
  const basic = Buffer.from(`${client_id}:${client_secret ?? ""}`).toString("base64");
  const sent = { grant_type: "authorization_code", redirect_uri: BACK, ...data };
  return core.send("", "update", `${PROVIDER}/token`, sent, { headers: { authorization: `Basic ${basic}` } });
}

async function claimsOf(idToken: string, audience = textOf(client, "client_id")) {
  const { text } = await core.send("", "read", `${PROVIDER}/.well-known/keys`);
  const keys: JSONWebKeySet = JSON.parse(text);
  const currentDate = new Date(core.clock.now());
  return (await jwtVerify(idToken, createLocalJWKSet(keys), { issuer: ISSUER, audience, currentDate })).payload;
}

const half = (text: string) => createHash("sha256").update(text).digest().subarray(0, 16).toString("base64url");

describe("the authorization code flow", () => {
  it("tells a client who logged in, from discovery to userinfo", async () => {
    const { body: discovery } = await core.send("", "read", `${PROVIDER}/.well-known/openid-configuration`);
    expect(discovery).toMatchObject({
      issuer: ISSUER,
      token_endpoint: `${ISSUER}/token`,
      userinfo_endpoint: `${ISSUER}/userinfo`,
      response_types_supported: ["code"],
    });
    await core.root("update", "identity/oidc/scope/who", { template: '{"who": {{identity.entity.name}}}' });
    await core.root("update", PROVIDER, { scopes_supported: ["who"] });
    await core.root("update", `identity/entity/id/${entityId}`, { name: "Ann" });
    const { body } = await authorize({ scope: "openid who other", state: "s1", nonce: "n1" });
    expect(body["state"]).toBe("s1");
    const code = textOf(body, "code");
    const { status, body: tokens } = await exchange({ code });
    expect(status).toBe(200);
    expect(tokens).toMatchObject({ token_type: "Bearer", expires_in: 86_400 });
    const accessToken = textOf(tokens, "access_token");
    const now = core.clock.now() / 1000;
    expect(await claimsOf(textOf(tokens, "id_token"))).toEqual({
      ...{ iss: ISSUER, sub: entityId, aud: client["client_id"], iat: now, exp: now + 3600, namespace: "root" },
      ...{ nonce: "n1", who: "Ann", at_hash: half(accessToken), c_hash: half(code) },
    });
    const userinfo = await core.send(accessToken, "read", `${PROVIDER}/userinfo`);
    expect(userinfo.body).toEqual({ sub: entityId, who: "Ann" });
  });

  it("makes access tokens that are good for nothing else", async () => {
    const { body } = await exchange({ code: await codeFor() });
    const accessToken = textOf(body, "access_token");
    expect((await core.send(accessToken, "read", "auth/token/lookup-self")).status).toBe(403);
    expect(await core.send(user, "read", `${PROVIDER}/userinfo`)).toMatchObject({
      status: 401,
      body: { error: "invalid_token" },
    });
    await core.clock.advance(86_400_000);
    expect((await core.send(accessToken, "read", `${PROVIDER}/userinfo`)).status).toBe(401);
  });

  it("stops telling about an entity that was disabled", async () => {
    const accessToken = textOf((await exchange({ code: await codeFor() })).body, "access_token");
    await core.root("update", `identity/entity/id/${entityId}`, { disabled: true });
    expect((await core.send(accessToken, "read", `${PROVIDER}/userinfo`)).status).toBe(403);
  });

  it("tells errors as clients of OpenBao know them", async () => {
    const code = await codeFor();
    await core.root("update", "identity/oidc/assignment/nobody", {});
    await core.root("update", "identity/oidc/client/app", { assignments: ["nobody"] });
    expect((await exchange({ code })).body).toEqual({
      ...{ error: "invalid_request", error_description: "identity entity not authorized by client assignment" },
    });
    const unknown = await exchange({ code }, { client_id: "none" });
    expect([unknown.status, unknown.body]).toEqual([
      ...[401, { error: "invalid_client", error_description: "client failed to authenticate" }],
    ]);
    const nameless = await core.send("", "update", `${PROVIDER}/token`, { grant_type: "authorization_code" });
    expect([nameless.status, nameless.body["error_description"]]).toEqual([400, "client_id parameter is required"]);
    expect((await authorize({ client_id: "", redirect_uri: "" })).body).toEqual({
      ...{ error: "invalid_client_id", error_description: "client_id parameter is required", state: "" },
    });
    const elsewhere = await core.send("", "read", "identity/oidc/provider/none/userinfo");
    expect([elsewhere.status, elsewhere.body["error"]]).toEqual([400, "invalid_request"]);
    expect((await core.send("x", "read", `${PROVIDER}/userinfo`)).headers["WWW-Authenticate"]).toContain("Bearer");
  });

  it("warns of an issuer of one's own, and sends users to the interface of the provider's namespace", async () => {
    const made = await core.root("update", "identity/oidc/provider/p", { issuer: "https://other.example" });
    expect(made.body["warnings"]).toEqual([expect.stringContaining('If "issuer" is set explicitly')]);
    await core.root("update", "sys/namespaces/n");
    const inside = { namespace: "n" };
    await core.root("update", "identity/oidc/provider/p", {}, inside);
    const path = "identity/oidc/provider/p/.well-known/openid-configuration";
    expect((await core.send("", "read", path, {}, inside)).body["authorization_endpoint"]).toBe(
      "https://coffer.example:8200/ui/vault/n/identity/oidc/provider/p/authorize",
    );
  });

  it("takes a code once, for a while, from the client it is for", async () => {
    const invalid = { status: 400, body: { error: "invalid_grant" } };
    const code = await codeFor();
    expect((await exchange({ code })).status).toBe(200);
    expect(await exchange({ code })).toMatchObject(invalid);
    const late = await codeFor();
    await core.clock.advance(CODE_SECONDS * 1000);
    expect(await exchange({ code: late })).toMatchObject(invalid);
    const stolen = await codeFor();
    expect(await exchange({ code: stolen }, await makeClient("thief"))).toMatchObject(invalid);
    expect(await exchange({ code: stolen })).toMatchObject(invalid);
    expect(await exchange({ code: await codeFor(), redirect_uri: "https://app.example/other" })).toMatchObject(invalid);
  });

  it("takes a code once although two exchange it at the same moment", async () => {
    const code = await codeFor();
    const answers = await Promise.all([exchange({ code }), exchange({ code }), exchange({ code })]);
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, 400, 400]);
  });

  it("leaves no codes behind", async () => {
    for (let i = 0; i < 5; i++) await codeFor();
    await core.clock.advance((CODE_SECONDS + 1) * 1000);
    await exchange({ code: await codeFor() });
    expect([...(await core.dump("identity/oidc/code")).keys()]).toEqual([]);
  });

  it("wants the client's secret", async () => {
    const code = await codeFor();
    const wrong = await exchange({ code }, { ...client, client_secret: "hvo_secret_wrong" });
    expect(wrong).toMatchObject({ status: 401, body: { error: "invalid_client" } });
    const credentials = { client_id: textOf(client, "client_id"), client_secret: textOf(client, "client_secret") };
    const sent = { code, grant_type: "authorization_code", redirect_uri: BACK, ...credentials };
    expect((await core.send("", "update", `${PROVIDER}/token`, sent)).status).toBe(200);
  });

  it("checks PKCE, and wants it of public clients", async () => {
    client = await makeClient("spa", { client_type: "public" });
    expect(client["client_secret"]).toBe(undefined);
    expect((await authorize()).body).toMatchObject({ error: "invalid_request" });
    const verifier = randomBytes(32).toString("base64url");
    const code_challenge = createHash("sha256").update(verifier).digest("base64url");
    const challenge = { code_challenge, code_challenge_method: "S256" };
    expect((await exchange({ code: await codeFor(challenge) })).body["error"]).toBe("invalid_request");
    const wrong = await exchange({ code: await codeFor(challenge), code_verifier: "other" });
    expect(wrong.body["error"]).toBe("invalid_grant");
    expect((await exchange({ code: await codeFor(challenge), code_verifier: verifier })).status).toBe(200);
    const plain = { code_challenge: verifier };
    expect((await exchange({ code: await codeFor(plain), code_verifier: verifier })).status).toBe(200);
  });

  it("says when the user logged in, and refuses when that was too long ago", async () => {
    const loggedIn = core.clock.now() / 1000;
    await core.clock.advance(60_000);
    const { body } = await exchange({ code: await codeFor({ max_age: 60 }) });
    expect(await claimsOf(textOf(body, "id_token"))).toMatchObject({ auth_time: loggedIn });
    await core.clock.advance(1_000);
    expect((await authorize({ max_age: 60 })).body).toMatchObject({ error: "max_age_violation" });
  });

  it.each([
    [{ scope: "profile" }, "invalid_request"],
    [{ response_type: "token" }, "unsupported_response_type"],
    [{ client_id: "nobody" }, "invalid_client_id"],
    [{ redirect_uri: "https://evil.example/" }, "invalid_redirect_uri"],
    [{ redirect_uri: "https://app.example/callback/.." }, "invalid_redirect_uri"],
    [{ code_challenge: "short" }, "invalid_request"],
    [{ max_age: 0 }, "invalid_request"],
  ])("refuses %j", async (data, error) => {
    expect(await authorize({ ...data, state: "s" })).toMatchObject({ status: 400, body: { error, state: "s" } });
  });

  it("lets programs on the user's machine take any port", async () => {
    client = await makeClient("cli", { redirect_uris: ["http://127.0.0.1/back"] });
    expect((await authorize({ redirect_uri: "http://127.0.0.1:51004/back" })).status).toBe(200);
    expect((await authorize({ redirect_uri: "http://127.0.0.1:51004/other" })).status).toBe(400);
    expect((await authorize({ redirect_uri: "http://127.0.0.1.evil.example/back" })).status).toBe(400);
  });
});

describe("who may log in", () => {
  it("is said by assignments: entities and groups, inherited ones too", async () => {
    client = await makeClient("few", { assignments: [] });
    const denied = { status: 400, body: { error: "access_denied" } };
    expect(await authorize()).toMatchObject(denied);
    const { data: child } = await core.root("update", "identity/group", { member_entity_ids: [entityId] });
    const { data: parent } = await core.root("update", "identity/group", { member_group_ids: [child["id"] ?? ""] });
    await core.root("update", "identity/oidc/assignment/a", { group_ids: [parent["id"] ?? ""] });
    await core.root("update", "identity/oidc/client/few", { assignments: ["a"] });
    const code = await codeFor();
    await core.root("update", "identity/oidc/assignment/a", { group_ids: [] });
    expect(await exchange({ code })).toMatchObject({ status: 400, body: { error: "invalid_request" } });
    await core.root("update", "identity/oidc/assignment/a", { entity_ids: [entityId] });
    expect((await authorize()).status).toBe(200);
    expect(await authorize({}, core.rootToken)).toMatchObject(denied);
  });

  it("and counts an entity that was merged into another", async () => {
    await core.root("update", "identity/oidc/assignment/a", { entity_ids: [entityId] });
    client = await makeClient("few", { assignments: ["a"] });
    const { data: other } = await core.root("update", "identity/entity", { name: "other" });
    const merge = { from_entity_ids: [entityId], to_entity_id: textOf(other, "id") };
    await core.root("update", "identity/entity/merge", merge);
    expect((await authorize()).status).toBe(200);
  });

  it("and by the provider's clients", async () => {
    await core.root("update", PROVIDER, { allowed_client_ids: [] });
    expect((await authorize()).body).toMatchObject({ error: "unauthorized_client" });
    expect((await core.send("", "read", `${PROVIDER}/.well-known/keys`)).body).toEqual({ keys: [] });
  });
});

describe("the client credentials flow", () => {
  it("is for clients that were given it", async () => {
    const grant = { grant_type: "client_credentials", scope: "openid" };
    expect((await exchange(grant)).body).toMatchObject({ error: "unauthorized_client" });
    client = await makeClient("job", { client_credentials: true, authorization_code: false });
    const { body } = await exchange(grant);
    expect(await claimsOf(textOf(body, "id_token"))).toMatchObject({ sub: client["client_id"] });
    expect((await authorize()).body).toMatchObject({ error: "unauthorized_client" });
  });
});

describe("what is configured", () => {
  const refusal = async (operation: "update" | "delete", path: string, data: JsonObject = {}) =>
    (await core.send(core.rootToken, operation, `identity/oidc/${path}`, data)).error;

  it("has a provider, an assignment and a key from the start", async () => {
    const { data: provider } = await core.root("read", PROVIDER);
    expect(provider).toEqual({ allowed_client_ids: ["*"], issuer: ISSUER, scopes_supported: [] });
    expect((await core.root("list", "identity/oidc/assignment")).data).toEqual({ keys: ["allow_all"] });
    expect(await refusal("delete", "provider/default")).toBe('deletion of OIDC provider "default" not allowed');
    expect(await refusal("update", "assignment/allow_all")).toBe('modification of assignment "allow_all" not allowed');
  });

  it("shows a client's secret to who reads it and not in lists", async () => {
    expect(client["client_secret"]).toMatch(/^hvo_secret_[A-Za-z0-9]{64}$/);
    const { text } = await core.root("list", "identity/oidc/client");
    expect(text).toContain(textOf(client, "client_id"));
    expect(text).not.toContain("hvo_secret");
  });

  it("cannot lose what it refers to", async () => {
    await core.root("update", "identity/oidc/scope/s", { template: "{}" });
    await core.root("update", "identity/oidc/assignment/a");
    await core.root("update", "identity/oidc/provider/p", { scopes_supported: ["s"] });
    await core.root("update", "identity/oidc/client/app", { assignments: ["a"] });
    expect(await refusal("delete", "key/k")).toContain("currently referenced by these clients: app");
    expect(await refusal("delete", "scope/s")).toContain("currently referenced by these providers: p");
    expect(await refusal("delete", "assignment/a")).toContain("currently referenced by these clients: app");
    expect(await refusal("update", "client/app", { assignments: ["b"] })).toBe('assignment "b" does not exist');
    expect(await refusal("update", "client/new", { key: "none" })).toBe('key "none" does not exist');
    expect(await refusal("update", "provider/p", { scopes_supported: ["t"] })).toBe('scope "t" does not exist');
  });

  it.each([
    ["client/app", { key: "default" }, "key modification is not allowed"],
    ["client/app", { client_type: "public" }, "client_type modification is not allowed"],
    ["client/new", { client_type: "secret" }, 'invalid client_type "secret"'],
    ["client/new", { redirect_uris: ["/back"] }, "no absolute URI"],
    ["client/new", { id_token_ttl: "25h" }, "cannot be greater than the verification_ttl"],
    ["scope/openid", {}, 'the "openid" scope name is reserved'],
    ["scope/s", { template: '{"at_hash": 1}' }, 'top level key "at_hash" not allowed'],
    ["provider/p", { issuer: "https://a.example/path" }, "invalid issuer"],
    ["provider/a b", {}, "the name of a provider has letters"],
  ])("refuses at %s: %j", async (path, data, message) => {
    expect(await refusal("update", path, data)).toContain(message);
  });

  it("warns of scopes that set the same claim", async () => {
    for (const name of ["s", "t"]) await core.root("update", `identity/oidc/scope/${name}`, { template: '{"c": 1}' });
    const reply = await core.root("update", PROVIDER, { scopes_supported: ["s", "t"] });
    expect(reply.body["warnings"]).toHaveLength(1);
    const both = await exchange({ code: await codeFor({ scope: "openid s t" }) });
    expect(both.body).toMatchObject({ error: "invalid_request" });
    expect((await exchange({ code: await codeFor({ scope: "openid s" }) })).status).toBe(200);
  });
});
