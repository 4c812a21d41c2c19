import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from "jose";
import { beforeEach, describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Core, startCore, textOf } from "#test/kit/core.ts";
import { ALGORITHMS } from "./oidc-records.ts";

const ISSUER = "https://coffer.example:8200/v1/identity/oidc";
const HOUR_MILLIS = 3_600_000;

let core: Core;
let entityId: string;
let user: string;

beforeEach(async () => {
  core = await startCore({ sanitizedConfig: { api_addr: "https://coffer.example:8200" } });
  await core.root("update", "sys/auth/up", { type: "userpass" });
  await core.policy("oidc", 'path "identity/oidc/token/*" { capabilities = ["read"] }');
  await core.root("update", "auth/up/users/ann", { password: "pw", token_policies: ["oidc"] });
  const login = await core.send("", "update", "auth/up/login/ann", { password: "pw" });
  user = textOf(login.auth, "client_token");
  entityId = textOf(login.auth, "entity_id");
  await core.root("update", `identity/entity/id/${entityId}`, { name: "Ann", metadata: { team: "red" } });
});

async function keySet(): Promise<JSONWebKeySet> {
  const { text } = await core.send("", "read", "identity/oidc/.well-known/keys");
  return JSON.parse(text);
}

async function tokenOf(role: string): Promise<string> {
  const reply = await core.send(user, "read", `identity/oidc/token/${role}`);
  expect(reply.error).toBe("");
  return textOf(reply.data, "token");
}

async function verified(token: string) {
  const currentDate = new Date(core.clock.now());
  return (await jwtVerify(token, createLocalJWKSet(await keySet()), { issuer: ISSUER, currentDate })).payload;
}

const introspect = async (token: string, data: JsonObject = {}) =>
  (await core.root("update", "identity/oidc/introspect", { token, ...data })).body["active"];

describe("identity tokens", () => {
  it.each(ALGORITHMS)("are signed by %s as anyone can check", async (algorithm) => {
    await core.root("update", "identity/oidc/key/k", { algorithm, allowed_client_ids: "*" });
    await core.root("update", "identity/oidc/role/r", { key: "k", ttl: "10m" });
    const token = await tokenOf("r");
    expect(decodeProtectedHeader(token).alg).toBe(algorithm);
    const { data: role } = await core.root("read", "identity/oidc/role/r");
    const now = core.clock.now() / 1000;
    expect(await verified(token)).toEqual({
      ...{ iss: ISSUER, sub: entityId, aud: role["client_id"], iat: now, exp: now + 600, namespace: "root" },
    });
    expect(await introspect(token)).toBe(true);
    expect(await introspect(token, { client_id: "other" })).toBe(false);
  });

  it("carry what the role's template says, and never other standard claims", async () => {
    const template = Buffer.from('{"team": {{identity.entity.metadata.team}}, {{identity.entity.name}}: 1}');
    await core.root("update", "identity/oidc/role/r", { key: "default", template: template.toString("base64") });
    expect(await verified(await tokenOf("r"))).toMatchObject({ team: "red", Ann: 1, sub: entityId });
    await core.root("update", `identity/entity/id/${entityId}`, { name: "sub" });
    expect(await verified(await tokenOf("r"))).toMatchObject({ sub: entityId });
  });

  it("are for callers with an entity, of clients the key allows", async () => {
    await core.root("update", "identity/oidc/key/k", { algorithm: "ES256" });
    await core.root("update", "identity/oidc/role/r", { key: "k" });
    const refused = await core.send(user, "read", "identity/oidc/token/r");
    expect(refused).toMatchObject({
      status: 400,
      error: 'the key "k" does not list the client ID of the role "r" as an allowed client ID',
    });
    await core.root("update", "identity/oidc/key/k", { allowed_client_ids: ["*"] });
    expect(await core.send(core.rootToken, "read", "identity/oidc/token/r")).toMatchObject({
      status: 400,
      error: "no entity associated with the request's token",
    });
  });

  it("are no longer good once the entity is disabled or the time has passed", async () => {
    await core.root("update", "identity/oidc/role/r", { key: "default", ttl: "1h" });
    const token = await tokenOf("r");
    await core.root("update", `identity/entity/id/${entityId}`, { disabled: true });
    expect(await introspect(token)).toBe(false);
    await core.root("update", `identity/entity/id/${entityId}`, { disabled: false });
    expect(await introspect(token)).toBe(true);
    await core.clock.advance(HOUR_MILLIS);
    expect(await introspect(token)).toBe(false);
  });

  it("name the configured issuer", async () => {
    const reply = await core.root("update", "identity/oidc/config", { issuer: "https://id.example/vault/" });
    expect(reply.body["warnings"]).toHaveLength(1);
    const { body } = await core.send("", "read", "identity/oidc/.well-known/openid-configuration");
    expect(body["issuer"]).toBe("https://id.example/vault/v1/identity/oidc");
    for (const issuer of ["ftp://a", "https://a?b", "https://u:p@a", "a"])
      expect(await core.send(core.rootToken, "update", "identity/oidc/config", { issuer })).toMatchObject({
        status: 400,
      });
  });
});

describe("named keys", () => {
  const kidOf = (token: string) => decodeProtectedHeader(token).kid;

  it("rotate when their time has come, and the old pair is believed for a while", async () => {
    const times = { rotation_period: "1h", verification_ttl: "2h", algorithm: "ES256", allowed_client_ids: "*" };
    await core.root("update", "identity/oidc/key/k", times);
    await core.root("update", "identity/oidc/role/r", { key: "k", ttl: "2h" });
    const first = await tokenOf("r");
    const announced = (await keySet()).keys.map((key) => key.kid);
    expect(announced).toContain(kidOf(first));
    await core.clock.advance(HOUR_MILLIS);
    const second = await tokenOf("r");
    expect(kidOf(second)).not.toBe(kidOf(first));
    expect(announced).toContain(kidOf(second));
    expect(await verified(first)).toMatchObject({ sub: entityId });
    await core.clock.advance(2 * HOUR_MILLIS);
    expect((await keySet()).keys.map((key) => key.kid)).not.toContain(kidOf(first));
  });

  it("rotate once although many sign at the same moment", async () => {
    await core.root("update", "identity/oidc/key/k", { algorithm: "ES256", allowed_client_ids: "*" });
    await core.root("update", "identity/oidc/role/r", { key: "k" });
    const before = kidOf(await tokenOf("r"));
    await core.clock.advance(25 * HOUR_MILLIS);
    const kids = new Set((await Promise.all(Array.from({ length: 8 }, () => tokenOf("r")))).map(kidOf));
    expect(kids.size).toBe(1);
    expect(kids).not.toContain(before);
    expect([...(await core.dump("identity/oidc/key-material/")).keys()]).toHaveLength(2);
  });

  it("keep private halves of no other pair than the present and the next", async () => {
    await core.root("update", "identity/oidc/key/k", { algorithm: "ES256" });
    await core.root("update", "identity/oidc/key/k/rotate", { verification_ttl: 0 });
    await core.root("update", "identity/oidc/key/k", { algorithm: "EdDSA" });
    expect([...(await core.dump("identity/oidc/key-material/")).keys()]).toHaveLength(2);
    await core.root("delete", "identity/oidc/key/k");
    expect([...(await core.dump("identity/oidc/key-material/")).keys()]).toHaveLength(0);
  });

  it("have one called default that cannot go", async () => {
    expect((await core.root("list", "identity/oidc/key")).data).toEqual({ keys: ["default"] });
    const refused = await core.send(core.rootToken, "delete", "identity/oidc/key/default");
    expect(refused).toMatchObject({ status: 400, error: 'deletion of key "default" not allowed' });
  });

  it.each([
    [{ algorithm: "HS256" }, "unknown signing algorithm"],
    [{ rotation_period: 59 }, "rotation_period must be at least one minute"],
    [{ rotation_period: 60, verification_ttl: 601 }, "verification_ttl cannot be longer than 10x rotation_period"],
  ])("refuse %j", async (data, message) => {
    const reply = await core.send(core.rootToken, "update", "identity/oidc/key/k", data);
    expect(reply).toMatchObject({ status: 400, error: expect.stringContaining(message) });
  });

  it("are not believed for less time than their tokens live", async () => {
    await core.root("update", "identity/oidc/key/k", { algorithm: "ES256", allowed_client_ids: "*" });
    await core.root("update", "identity/oidc/role/r", { key: "k", ttl: "24h" });
    const shorter = await core.send(core.rootToken, "update", "identity/oidc/key/k", { verification_ttl: "1h" });
    expect(shorter.status).toBe(400);
    const longer = await core.send(core.rootToken, "update", "identity/oidc/role/r", { ttl: "25h" });
    expect(longer.error).toBe("a role's token ttl cannot be longer than the verification_ttl of the key it references");
  });
});
