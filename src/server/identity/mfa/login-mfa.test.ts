import { createSecretKey } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { type TotpSettings, totpCode, totpCounter } from "#common/totp.ts";
import { type Core, objectOf, startCore, textOf } from "#test/kit/core.ts";
import { DEFERRED_SECONDS } from "./login-mfa.ts";

const SETTINGS: TotpSettings = { algorithm: "SHA1", digits: 6, periodSeconds: 30 };
const LOGIN = "auth/up/login/ann";
const PASSWORD = { password: "pw" };

let core: Core;
let accessor: string;
let method: string;
let entityId: string;
let url: string;

beforeEach(async () => {
  core = await startCore();
  await core.root("update", "sys/auth/up", { type: "userpass" });
  accessor = textOf((await core.root("read", "sys/auth/up")).data, "accessor");
  await core.root("update", "auth/up/users/ann", { ...PASSWORD, token_policies: "p", token_ttl: "1h" });
  entityId = textOf((await core.send("", "update", LOGIN, PASSWORD)).auth, "entity_id");
  method = await makeMethod();
  url = await makeSecret(method);
  await enforce("e", { auth_method_accessors: [accessor] });
});

async function makeMethod(data: JsonObject = {}): Promise<string> {
  const { data: made } = await core.root("update", "identity/mfa/method/totp", { issuer: "Coffer", ...data });
  return textOf(made, "method_id");
}

async function makeSecret(method_id: string, entity_id = entityId): Promise<string> {
  const { data } = await core.root("update", "identity/mfa/method/totp/admin-generate", { method_id, entity_id });
  return textOf(data, "url");
}

const enforce = (name: string, data: JsonObject, ids = [method]) =>
  core.root("update", `identity/mfa/login-enforcement/${name}`, { mfa_method_ids: ids, ...data });

/** What the user's app shows, `ahead` periods from now. */
function code(ahead = 0, settings = SETTINGS, from = url): string {
  const secret = new URL(from).searchParams.get("secret") ?? "";
  const bits = [...secret].map((letter) =>
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"),
  );
  const bytes = bits.join("").match(/.{8}/g) ?? [];
  const key = createSecretKey(Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2))));
  return totpCode(key, settings, totpCounter(settings, core.clock.now() / 1000) + ahead);
}

const wrongCode = () => String((Number(code()) + 1) % 1_000_000).padStart(6, "0");
const passwordOnly = () => core.send("", "update", LOGIN, PASSWORD);
const withHeader = (value: string) => core.send("", "update", LOGIN, PASSWORD, { headers: { "x-vault-mfa": value } });

function requestIdOf(auth: JsonObject): string {
  return textOf(objectOf(auth, "mfa_requirement"), "mfa_request_id");
}

const validate = (mfa_request_id: string, codes: string[], id = method, wrapTtlSeconds?: number) =>
  core.send(
    "",
    "update",
    "sys/mfa/validate",
    { mfa_request_id, mfa_payload: { [id]: codes } },
    wrapTtlSeconds === undefined ? {} : { wrapTtlSeconds },
  );

describe("a login in two phases", () => {
  it("gives no token until the code is shown, and then the same as any login", async () => {
    const first = await passwordOnly();
    expect(first).toMatchObject({ status: 200, auth: { client_token: "", accessor: "", entity_id: "" } });
    expect(first.body["warnings"]).toHaveLength(1);
    const requirement = objectOf(first.auth, "mfa_requirement");
    expect(requirement["mfa_constraints"]).toEqual({
      e: { any: [{ type: "totp", id: method, uses_passcode: true, name: "" }] },
    });
    const second = await validate(requestIdOf(first.auth), [code()]);
    expect(second).toMatchObject({
      status: 200,
      auth: { token_policies: ["default", "p"], lease_duration: 3600, entity_id: entityId, mfa_requirement: null },
    });
    const looked = await core.send(textOf(second.auth, "client_token"), "read", "auth/token/lookup-self");
    expect(looked.data).toMatchObject({ path: LOGIN, display_name: "up-ann", meta: { username: "ann" } });
  });

  it("makes no token before", async () => {
    const before = await core.dump("core/token/id/");
    await passwordOnly();
    expect((await core.dump("core/token/id/")).size).toBe(before.size);
  });

  it("is finished once", async () => {
    const id = requestIdOf((await passwordOnly()).auth);
    const answers = await Promise.all([validate(id, [code()]), validate(id, [code()]), validate(id, [code(1)])]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(await validate(id, [code(1)])).toMatchObject({ status: 400, error: "invalid request ID" });
  });

  it("waits for the code only so long, and leaves nothing behind", async () => {
    const id = requestIdOf((await passwordOnly()).auth);
    await core.clock.advance(DEFERRED_SECONDS * 1000);
    expect(await validate(id, [code()])).toMatchObject({ status: 400, error: "invalid request ID" });
    const next = requestIdOf((await passwordOnly()).auth);
    expect([...(await core.dump("identity/mfa/login/")).keys()]).toEqual([`identity/mfa/login/${next}`]);
  });

  it("wants the right code, of the right method, of a known request", async () => {
    const id = requestIdOf((await passwordOnly()).auth);
    const reason = `failed to satisfy enforcement e. error: 2 errors occurred:\n\t* failed to validate TOTP passcode\n\t* login MFA validation failed for methodID: [${method}]\n\n`;
    expect(await validate(id, [wrongCode()])).toMatchObject({ status: 403, error: reason });
    expect((await validate(id, [code()], "other")).status).toBe(403);
    expect((await validate(id, [])).status).toBe(400);
    expect((await validate("", [code()])).error).toBe("invalid request ID");
    expect((await validate(id, [code()])).status).toBe(200);
  });

  it("wraps the token and not what is asked for", async () => {
    const first = await core.send("", "update", LOGIN, PASSWORD, { wrapTtlSeconds: 60 });
    const second = await validate(requestIdOf(first.auth), [code()], method, 60);
    expect(isJsonObject(second.body["wrap_info"])).toBe(true);
    expect(second.body["auth"]).toBe(null);
  });

  it("asks for what is demanded when the code comes", async () => {
    const id = requestIdOf((await passwordOnly()).auth);
    const other = await makeMethod();
    await makeSecret(other);
    await enforce("f", { identity_entity_ids: [entityId] }, [other]);
    expect((await validate(id, [code()])).error).toContain("failed to satisfy enforcement f");
  });

  it("is over when the auth method is gone", async () => {
    const id = requestIdOf((await passwordOnly()).auth);
    await core.root("delete", "sys/auth/up");
    await core.root("update", "sys/auth/up", { type: "userpass" });
    expect(await validate(id, [code()])).toMatchObject({ status: 400, error: "invalid request ID" });
  });
});

describe("what a login in two phases vouches for", () => {
  it("is what it was before the second: not what a client put into a secret id", async () => {
    await core.root("update", "sys/auth/ar", { type: "approle" });
    await core.policy("own", 'path "secret/{{token.metadata.team}}" { capabilities = ["read"] }');
    await core.root("update", "sys/mounts/secret", { type: "kv" });
    await core.root("update", "secret/red", { v: 1 });
    await core.root("update", "auth/ar/role/r", { token_policies: ["own"] });
    const role_id = textOf((await core.root("read", "auth/ar/role/r/role-id")).data, "role_id");
    const made = await core.root("update", "auth/ar/role/r/secret-id", { metadata: '{"team":"red"}' });
    const login = { role_id, secret_id: textOf(made.data, "secret_id") };
    const first = await core.send("", "update", "auth/ar/login", login);
    url = await makeSecret(method, textOf(first.auth, "entity_id"));
    await enforce("f", { auth_method_types: ["approle"] });
    const asked = await core.send("", "update", "auth/ar/login", login);
    const { auth } = await validate(requestIdOf(asked.auth), [code()]);
    expect(auth["metadata"]).toEqual({ role_name: "r", team: "red" });
    for (const token of [first.auth, auth])
      expect((await core.send(textOf(token, "client_token"), "read", "secret/red")).status).toBe(403);
  });
});

describe("a login in one phase", () => {
  it("takes the code in a header, by the method's id or name", async () => {
    await core.root("update", `identity/mfa/method/totp/${method}`, { method_name: "phone" });
    const byId = await withHeader(`${method}:${code()}`);
    expect(textOf(byId.auth, "client_token")).toMatch(/^hvs\./);
    expect((await withHeader(`phone:passcode=${code(1)}`)).auth["mfa_requirement"]).toBe(null);
  });

  it("refuses a wrong or missing one", async () => {
    expect((await withHeader(`${method}:${wrongCode()}`)).status).toBe(403);
    expect((await withHeader(`other:${code()}`)).status).toBe(403);
    expect((await withHeader(method)).status).toBe(400);
  });
});

describe("a code", () => {
  it("is taken once, and so are those before it", async () => {
    expect((await withHeader(`${method}:${code(1)}`)).status).toBe(200);
    expect((await withHeader(`${method}:${code(1)}`)).error).toContain(
      "code already used; new code is available in 30 seconds",
    );
    expect((await withHeader(`${method}:${code()}`)).error).toContain("code already used");
  });

  it("is taken once although several show it at the same moment", async () => {
    const header = `${method}:${code()}`;
    const answers = await Promise.all(Array.from({ length: 4 }, () => withHeader(header)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  it("may be one period early or late, and no more", async () => {
    expect((await withHeader(`${method}:${code(2)}`)).status).toBe(403);
    expect((await withHeader(`${method}:${code(-2)}`)).status).toBe(403);
    expect((await withHeader(`${method}:${code(-1)}`)).status).toBe(200);
  });

  it("cannot be guessed: too many wrong ones wait for the next period, the right one too", async () => {
    for (let i = 0; i < 5; i++) expect((await withHeader(`${method}:${wrongCode()}`)).status).toBe(403);
    expect((await withHeader(`${method}:${code()}`)).error).toContain(
      "maximum TOTP validation attempts 5 exceeded the allowed attempts 5. Please try again in 30 seconds",
    );
    await core.clock.advance(30_000);
    expect((await withHeader(`${method}:${code()}`)).status).toBe(200);
  });

  it("cannot be guessed by many at the same moment either", async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => withHeader(`${method}:${wrongCode()}`)));
    expect(answers.filter(({ error }) => error.includes("failed to validate")).length).toBe(5);
  });

  it("follows the method's settings", async () => {
    const settings = { algorithm: "SHA512", digits: 8, periodSeconds: 60 } as const;
    const other = await makeMethod({ algorithm: "SHA512", digits: 8, period: 60, skew: 0, key_size: 64 });
    const otherUrl = await makeSecret(other);
    await core.root("update", `identity/mfa/method/totp/${other}`, { digits: 6 });
    await enforce("e", {}, [method, other]);
    expect((await withHeader(`${other}:${code(1, settings, otherUrl)}`)).status).toBe(403);
    expect((await withHeader(`${other}:${code(0, settings, otherUrl)}`)).status).toBe(200);
  });
});

describe("an enforcement", () => {
  const isAsked = async () => (await passwordOnly()).auth["mfa_requirement"] !== null;

  it("names auth methods, their types, entities or groups", async () => {
    await core.root("delete", "identity/mfa/login-enforcement/e");
    expect(await isAsked()).toBe(false);
    const { data: child } = await core.root("update", "identity/group", { member_entity_ids: [entityId] });
    const { data: parent } = await core.root("update", "identity/group", { member_group_ids: [textOf(child, "id")] });
    for (const data of [
      { auth_method_types: ["userpass"] },
      { identity_entity_ids: [entityId] },
      { identity_group_ids: [textOf(parent, "id")] },
    ]) {
      await enforce("f", data);
      expect(await isAsked()).toBe(true);
      await core.root("delete", "identity/mfa/login-enforcement/f");
    }
    await enforce("f", { auth_method_types: ["approle"], identity_entity_ids: ["other"] });
    expect(await isAsked()).toBe(false);
  });

  it("goes with an entity that is merged into another", async () => {
    await core.root("delete", "identity/mfa/login-enforcement/e");
    await enforce("f", { identity_entity_ids: [entityId] });
    const { data: other } = await core.root("update", "identity/entity", { name: "other" });
    const merge = { from_entity_ids: [entityId], to_entity_id: textOf(other, "id") };
    await core.root("update", "identity/entity/merge", merge);
    expect(await isAsked()).toBe(true);
  });

  it("is satisfied by any of its methods; all enforcements must be", async () => {
    const other = await makeMethod();
    const otherUrl = await makeSecret(other);
    await enforce("f", { auth_method_types: ["userpass"] }, [other]);
    expect((await withHeader(`${method}:${code()}`)).error).toContain("failed to satisfy enforcement f");
    const both = `${method}:${code()}, ${other}:${code(0, SETTINGS, otherUrl)}`;
    expect((await withHeader(both)).status).toBe(200);
    await enforce("f", {}, [other, method]);
    expect((await withHeader(`${method}:${code(1)}`)).status).toBe(200);
  });

  it("shuts out users that have no key", async () => {
    await core.root("update", "auth/up/users/bob", PASSWORD);
    const { auth } = await core.send("", "update", "auth/up/login/bob", PASSWORD);
    expect((await validate(requestIdOf(auth), [code()])).error).toContain("entity does not contain the TOTP secret");
  });

  it.each([
    [{ mfa_method_ids: [] }, "missing method ids"],
    [{ mfa_method_ids: ["none"], auth_method_types: ["x"] }, "doesn't exist"],
    [{}, "must be specified"],
  ])("is refused: %j", async (data, message) => {
    const sent: JsonObject = { mfa_method_ids: [method], ...data };
    const { status, error } = await core.send(core.rootToken, "update", "identity/mfa/login-enforcement/g", sent);
    expect({ status, error }).toEqual({ status: 400, error: expect.stringContaining(message) });
  });

  it("is shown and listed", async () => {
    expect((await core.root("read", "identity/mfa/login-enforcement/e")).data).toMatchObject({
      ...{ name: "e", mfa_method_ids: [method], auth_method_accessors: [accessor], auth_method_types: [] },
      ...{ identity_group_ids: [], identity_entity_ids: [], namespace_id: "root" },
    });
    expect((await core.root("list", "identity/mfa/login-enforcement")).data).toMatchObject({ keys: ["e"] });
  });
});

describe("a method", () => {
  it("is shown without secrets, and kept while an enforcement uses it", async () => {
    const shown = {
      ...{ type: "totp", id: method, issuer: "Coffer", algorithm: "SHA1", digits: 6, period: 30, skew: 1 },
      ...{ key_size: 20, qr_size: 200, max_validation_attempts: 5, name: "" },
    };
    expect((await core.root("read", `identity/mfa/method/totp/${method}`)).data).toMatchObject(shown);
    expect((await core.root("read", `identity/mfa/method/${method}`)).data).toMatchObject(shown);
    const { data } = await core.root("list", "identity/mfa/method");
    expect(data).toMatchObject({ keys: [method], key_info: { [method]: shown } });
    expect((await core.send(core.rootToken, "delete", `identity/mfa/method/totp/${method}`)).status).toBe(400);
    await core.root("delete", "identity/mfa/login-enforcement/e");
    await core.root("delete", `identity/mfa/method/totp/${method}`);
    expect([...(await core.dump("identity/mfa/secret/")).keys()]).toEqual([]);
  });

  it.each([
    [{ issuer: "" }, "issuer"],
    [{ digits: 7 }, "digits"],
    [{ skew: 2 }, "skew"],
    [{ algorithm: "MD5" }, "algorithm"],
    [{ period: 0 }, "period"],
    [{ key_size: 15 }, "key_size"],
    [{ key_size: 129 }, "key_size"],
    [{ qr_size: 2049 }, "qr_size"],
  ])("is refused: %j", async (data, name) => {
    const sent = { issuer: "Coffer", ...data };
    const { status, error } = await core.send(core.rootToken, "update", "identity/mfa/method/totp", sent);
    expect({ status, error }).toEqual({ status: 400, error: expect.stringContaining(`${name} must`) });
  });

  it("has a name of its own", async () => {
    await core.root("update", `identity/mfa/method/totp/${method}`, { method_name: "phone" });
    const taken = { issuer: "Coffer", method_name: "phone" };
    expect((await core.send(core.rootToken, "update", "identity/mfa/method/totp", taken)).status).toBe(400);
    await core.root("update", `identity/mfa/method/totp/${method}`, { method_name: "tablet" });
    await makeMethod({ method_name: "phone" });
  });
});

describe("a key", () => {
  it("is shown once, as URL and picture, and again only after it was destroyed", async () => {
    expect(url).toMatch(
      new RegExp(
        `^otpauth://totp/Coffer:${entityId}\\?algorithm=SHA1&digits=6&issuer=Coffer&period=30&secret=[A-Z2-7]{32}$`,
      ),
    );
    const ask = { method_id: method, entity_id: entityId };
    const again = await core.root("update", "identity/mfa/method/totp/admin-generate", ask);
    expect(again.body["data"]).toBe(null);
    expect(again.body["warnings"]).toHaveLength(1);
    await core.root("update", "identity/mfa/method/totp/admin-destroy", ask);
    const { data } = await core.root("update", "identity/mfa/method/totp/admin-generate", ask);
    expect(data["url"]).not.toBe(url);
    expect(Buffer.from(textOf(data, "barcode"), "base64").subarray(1, 4).toString()).toBe("PNG");
  });

  it("goes with its entity to the one that it is merged into", async () => {
    const { data: other } = await core.root("update", "identity/entity", { name: "other" });
    const merge = { from_entity_ids: [entityId], to_entity_id: textOf(other, "id") };
    const used = code();
    expect((await withHeader(`${method}:${used}`)).status).toBe(200);
    await core.root("update", "identity/entity/merge", merge);
    expect((await withHeader(`${method}:${used}`)).status).toBe(403);
    expect((await withHeader(`${method}:${code(1)}`)).auth["entity_id"]).toBe(textOf(other, "id"));
    expect([...(await core.dump("identity/mfa/secret/")).keys()].join()).not.toContain(entityId);
  });

  it("stops a merge where the other has one as well, unless that is to stay", async () => {
    const { data } = await core.root("update", "identity/entity", { name: "other" });
    const to = textOf(data, "id");
    const theirs = await makeSecret(method, to);
    const merge = { from_entity_ids: [entityId], to_entity_id: to };
    const { status, error } = await core.send(core.rootToken, "update", "identity/entity/merge", merge);
    expect({ status, error }).toEqual({
      ...{ status: 400, error: expect.stringContaining(`conflicting MFA config ID "${method}" in entity ID`) },
    });
    await core.root("update", "identity/entity/merge", { ...merge, force: true });
    expect((await withHeader(`${method}:${code()}`)).status).toBe(403);
    expect((await withHeader(`${method}:${code(0, SETTINGS, theirs)}`)).status).toBe(200);
  });

  it.each(["identity/entity/id/", "identity/entity/batch-delete"])("ends with its entity: %s", async (path) => {
    const isBatch = path.endsWith("batch-delete");
    if (isBatch) await core.root("update", path, { entity_ids: [entityId, entityId] });
    else await core.root("delete", path + entityId);
    expect([...(await core.dump("identity/mfa/secret/")).keys()]).toEqual([]);
  });

  it("may be made by users themselves", async () => {
    await core.policy("p", 'path "identity/mfa/method/totp/generate" { capabilities = ["update"] }');
    const token = textOf((await withHeader(`${method}:${code()}`)).auth, "client_token");
    const other = await makeMethod({ qr_size: 0 });
    const made = await core.send(token, "update", "identity/mfa/method/totp/generate", { method_id: other });
    expect(made.data).toMatchObject({ barcode: "", url: expect.stringContaining(entityId) });
    const root = await core.send(core.rootToken, "update", "identity/mfa/method/totp/generate", { method_id: other });
    expect(root).toMatchObject({ status: 400, error: "missing or invalid entity ID" });
  });
});
