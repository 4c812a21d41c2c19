import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { createHarness, type Harness } from "../../framework/harness.ts";
import { approleType } from "./approle.ts";
import { parseSecretMetadata, SECRET_METADATA_BYTES_MAX } from "./secret-metadata.ts";
import { TIDY_BATCH } from "./tidy.ts";

const REFUSED = { code: "invalid_request", message: "invalid role or secret ID" };

async function open(role: JsonObject = {}): Promise<Harness> {
  const approle = await createHarness(approleType);
  await approle.call("update", "role/r", { token_policies: ["p1"], ...role });
  return approle;
}

async function text(call: ReturnType<Harness["call"]>, name: string): Promise<string> {
  const value = (await call)?.data?.[name];
  if (typeof value !== "string") throw new Error(`${name} is not a text`);
  return value;
}

const roleIdOf = (approle: Harness) => text(approle.call("read", "role/r/role-id"), "role_id");
const secretIdOf = (approle: Harness, data: JsonObject = {}) =>
  text(approle.call("update", "role/r/secret-id", data), "secret_id");

async function login(approle: Harness, secretId: string, remoteAddress = "127.0.0.1") {
  const data = { role_id: await roleIdOf(approle), secret_id: secretId };
  return approle.call("update", "login", data, { remoteAddress });
}

describe("approle: roles", () => {
  it("shows what was set and keeps what an update leaves out", async () => {
    const approle = await open({ token_ttl: "20m", secret_id_num_uses: 10, secret_id_bound_cidrs: ["127.0.0.0/8"] });
    await approle.call("update", "role/R", { token_num_uses: 3 });
    expect((await approle.call("read", "role/r"))?.data).toEqual({
      bind_secret_id: true,
      local_secret_ids: false,
      secret_id_bound_cidrs: ["127.0.0.0/8"],
      secret_id_num_uses: 10,
      secret_id_ttl: 0,
      token_bound_cidrs: [],
      token_explicit_max_ttl: 0,
      token_max_ttl: 0,
      token_no_default_policy: false,
      token_num_uses: 3,
      token_period: 0,
      token_policies: ["p1"],
      token_strictly_bind_ip: false,
      token_ttl: 1200,
      token_type: "default",
    });
  });

  it("lists with and without the slash, and deletes", async () => {
    const approle = await open();
    await approle.call("update", "role/s", {});
    expect(await approle.call("list", "role")).toEqual({ data: { keys: ["r", "s"] } });
    expect(await approle.call("list", "role/")).toEqual({ data: { keys: ["r", "s"] } });
    await approle.call("delete", "role/r");
    expect(await approle.call("read", "role/r")).toBeUndefined();
  });

  it.each([
    ["policies", { policies: "p3" }, { token_policies: ["p3"] }, { token_policies: [] }],
    ["bind-secret-id", { bind_secret_id: true }, { bind_secret_id: true }, { bind_secret_id: true }],
    ["bound-cidr-list", { bound_cidr_list: "::1" }, { bound_cidr_list: ["::1"] }, { bound_cidr_list: null }],
    ["secret-id-bound-cidrs", { secret_id_bound_cidrs: "::1" }, { secret_id_bound_cidrs: ["::1"] }, {}],
    ["secret-id-num-uses", { secret_id_num_uses: "5" }, { secret_id_num_uses: 5 }, { secret_id_num_uses: 0 }],
    ["secret-id-ttl", { secret_id_ttl: "1h" }, { secret_id_ttl: 3600 }, { secret_id_ttl: 0 }],
    ["token-bound-cidrs", { token_bound_cidrs: "::1" }, { token_bound_cidrs: ["::1"] }, { token_bound_cidrs: [] }],
    ["token-max-ttl", { token_max_ttl: "1h" }, { token_max_ttl: 3600 }, { token_max_ttl: 0 }],
    ["token-num-uses", { token_num_uses: 2 }, { token_num_uses: 2 }, { token_num_uses: 0 }],
    ["token-ttl", { token_ttl: "5m" }, { token_ttl: 300 }, { token_ttl: 0 }],
    ["period", { period: "1h" }, { token_period: 3600 }, { token_period: 0 }],
  ])("sets, shows and clears the field %s", async (path, set, shown, cleared) => {
    const approle = await open();
    await approle.call("update", `role/r/${path}`, set);
    expect((await approle.call("read", `role/r/${path}`))?.data).toEqual(shown);
    await approle.call("delete", `role/r/${path}`);
    expect((await approle.call("read", `role/r/${path}`))?.data).toMatchObject(cleared);
    await expect(approle.call("update", `role/none/${path}`, set)).rejects.toMatchObject({ code: "not_found" });
    expect(await approle.call("delete", `role/none/${path}`)).toEqual({});
    const nothing = { code: "invalid_request", message: expect.stringMatching(/^missing \w+$/) };
    await expect(approle.call("update", `role/r/${path}`, {})).rejects.toMatchObject(nothing);
  });

  it.each([
    [{ token_ttl: "2h", token_max_ttl: "1h" }, "'token_ttl' cannot be greater than 'token_max_ttl'"],
    [{ bind_secret_id: false }, "at least one constraint should be enabled on the role"],
    [{ secret_id_num_uses: -1 }, "secret_id_num_uses cannot be negative"],
    [{ secret_id_bound_cidrs: "x" }, 'secret_id_bound_cidrs: "x" is not a CIDR block such as 10.0.0.0/8'],
    [{ local_secret_ids: true }, "local_secret_ids can only be set when the role is made"],
  ])("refuses %j", async (data, message) => {
    const approle = await open();
    await expect(approle.call("update", "role/r", data)).rejects.toMatchObject({ code: "invalid_request", message });
  });

  it("takes a role id of one's own that nobody else has", async () => {
    const approle = await open();
    const before = await roleIdOf(approle);
    await approle.call("update", "role/r/role-id", { role_id: "mine/1" });
    const secret_id = await secretIdOf(approle);
    expect((await approle.call("update", "login", { role_id: "mine/1", secret_id }))?.grant?.aliasName).toBe("mine/1");
    await expect(approle.call("update", "login", { role_id: before, secret_id })).rejects.toMatchObject(REFUSED);
    await expect(approle.call("update", "role/s", { role_id: "mine/1" })).rejects.toMatchObject({
      code: "invalid_request",
    });
  });
});

describe("approle: login", () => {
  it("grants the role's token with the secret id's metadata", async () => {
    const approle = await open({ token_ttl: "20m" });
    const reply = await login(approle, await secretIdOf(approle, { metadata: '{"host":"a"}' }));
    expect(reply?.grant).toMatchObject({
      displayName: "",
      policies: ["p1"],
      metadata: { host: "a", role_name: "r" },
      token: { ttlSeconds: 1200 },
    });
  });

  it("has one answer for every wrong pair", async () => {
    const approle = await open();
    const secret_id = await secretIdOf(approle);
    await expect(login(approle, "wrong")).rejects.toMatchObject(REFUSED);
    await expect(approle.call("update", "login", { role_id: "wrong", secret_id })).rejects.toMatchObject(REFUSED);
    await expect(login(approle, "")).rejects.toMatchObject({ message: "missing secret_id" });
    await expect(approle.call("update", "login", { secret_id })).rejects.toMatchObject({ message: "missing role_id" });
  });

  it("does not let a secret id of another role in", async () => {
    const approle = await open();
    await approle.call("update", "role/s", {});
    const other = await text(approle.call("update", "role/s/secret-id"), "secret_id");
    await expect(login(approle, other)).rejects.toMatchObject(REFUSED);
  });

  it("never stores a secret id in the clear", async () => {
    const approle = await open();
    const secretId = await secretIdOf(approle);
    await approle.call("update", "role/r/custom-secret-id", { secret_id: "my own secret id" });
    const stored = JSON.stringify([...(await approle.dump())]);
    expect(stored).not.toContain(secretId);
    expect(stored).not.toContain("my own secret id");
  });

  it("counts uses down and forgets the secret id after the last", async () => {
    const approle = await open({ secret_id_num_uses: 2 });
    const secretId = await secretIdOf(approle);
    await login(approle, secretId);
    expect((await approle.call("update", "role/r/secret-id/lookup", { secret_id: secretId }))?.data).toMatchObject({
      secret_id_num_uses: 1,
    });
    await login(approle, secretId);
    await expect(login(approle, secretId)).rejects.toMatchObject(REFUSED);
    expect(await approle.call("list", "role/r/secret-id")).toBeUndefined();
  });

  it("grants a last use once when two ask at the same time", async () => {
    const approle = await open({ secret_id_num_uses: 1 });
    const secretId = await secretIdOf(approle);
    const both = await Promise.allSettled([login(approle, secretId), login(approle, secretId)]);
    expect(both.map((one) => one.status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("ends with the secret id's time", async () => {
    const approle = await open({ secret_id_ttl: "1h" });
    const secretId = await secretIdOf(approle);
    await approle.clock.advance(3_599_999);
    await login(approle, secretId);
    await approle.clock.advance(1);
    await expect(login(approle, secretId)).rejects.toMatchObject(REFUSED);
    expect(await approle.call("update", "role/r/secret-id/lookup", { secret_id: secretId })).toEqual({});
  });

  it("holds logins to the blocks of the role, the secret id and the token", async () => {
    const approle = await open({ secret_id_bound_cidrs: "10.0.0.0/8", token_bound_cidrs: "10.1.0.0/16" });
    const secretId = await secretIdOf(approle, { cidr_list: "10.1.0.0/16", token_bound_cidrs: "10.1.2.0/24" });
    expect((await login(approle, secretId, "10.1.2.3"))?.grant?.token.boundCidrs).toEqual(["10.1.2.0/24"]);
    await expect(login(approle, secretId, "10.1.3.3")).rejects.toMatchObject({ code: "permission_denied" });
    await expect(login(approle, secretId, "10.2.0.1")).rejects.toThrow("through CIDR restrictions on the secret ID");
    const free = await secretIdOf(approle);
    await expect(login(approle, free, "192.0.2.1")).rejects.toThrow("by CIDR restrictions on the role");
    await expect(secretIdOf(approle, { cidr_list: "11.0.0.0/8" })).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("needs no secret id when the role says so", async () => {
    const approle = await open({ bind_secret_id: false, secret_id_bound_cidrs: "127.0.0.1" });
    expect((await login(approle, ""))?.grant?.metadata).toEqual({ role_name: "r" });
    await expect(secretIdOf(approle)).rejects.toMatchObject({ message: "bind_secret_id is not set on the role" });
  });
});

describe("approle: secret ids", () => {
  it("can be looked up by themselves and by accessor", async () => {
    const approle = await open({ secret_id_ttl: "1h" });
    const made = (await approle.call("update", "role/r/secret-id", { metadata: "k=v" }))?.data;
    const { secret_id = "", secret_id_accessor = "" } = made ?? {};
    const known = {
      cidr_list: [],
      creation_time: "2026-01-01T00:00:00.000000000Z",
      expiration_time: "2026-01-01T01:00:00.000000000Z",
      last_updated_time: "2026-01-01T00:00:00.000000000Z",
      metadata: { k: "v" },
      secret_id_accessor,
      secret_id_num_uses: 0,
      secret_id_ttl: 3600,
      token_bound_cidrs: [],
    };
    expect((await approle.call("update", "role/r/secret-id/lookup", { secret_id }))?.data).toEqual(known);
    expect((await approle.call("update", "role/r/secret-id-accessor/lookup", { secret_id_accessor }))?.data).toEqual(
      known,
    );
    expect(await approle.call("list", "role/r/secret-id/")).toEqual({ data: { keys: [secret_id_accessor] } });
    await approle.call("update", "role/r/secret-id-accessor/destroy", { secret_id_accessor });
    await expect(
      approle.call("update", "role/r/secret-id-accessor/lookup", { secret_id_accessor }),
    ).rejects.toMatchObject({ code: "not_found" });
  });

  it("may be one's own, once", async () => {
    const approle = await open();
    const mine = { secret_id: "mine" };
    await approle.call("update", "role/r/custom-secret-id", mine);
    await expect(approle.call("update", "role/r/custom-secret-id", mine)).rejects.toMatchObject({
      code: "invalid_request",
    });
    await login(approle, "mine");
    expect(await approle.call("update", "role/r/secret-id/destroy", mine)).toEqual({});
    expect(await approle.call("update", "role/r/secret-id/destroy", mine)).toEqual({});
    await expect(login(approle, "mine")).rejects.toMatchObject(REFUSED);
  });

  it("stay within the role's numbers", async () => {
    const approle = await open({ secret_id_ttl: "1h", secret_id_num_uses: 5 });
    await secretIdOf(approle, { ttl: "1h", num_uses: 5 });
    for (const beyond of [{ ttl: 3601 }, { ttl: 0 }, { num_uses: 6 }, { num_uses: 0 }])
      await expect(secretIdOf(approle, beyond)).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("need a role", async () => {
    const approle = await open();
    await expect(approle.call("update", "role/none/secret-id")).rejects.toMatchObject({
      code: "not_found",
      message: 'role "none" does not exist',
    });
  });

  it("go with their role, which does not find them again under the old name", async () => {
    const approle = await open();
    const secretId = await secretIdOf(approle);
    await approle.call("delete", "role/r");
    expect([...(await approle.dump()).keys()]).toEqual(["salt"]);
    await approle.call("update", "role/r", {});
    await expect(login(approle, secretId)).rejects.toMatchObject(REFUSED);
  });
});

describe("approle: tidy", () => {
  it("removes what ended and nothing else", async () => {
    const approle = await open();
    await secretIdOf(approle, { ttl: "1m" });
    const lasting = await secretIdOf(approle, { ttl: "1h" });
    await approle.clock.advance(60_000);
    expect(await approle.call("update", "tidy/secret-id")).toMatchObject({ status: 202 });
    expect((await approle.call("list", "role/r/secret-id"))?.data?.["keys"]).toHaveLength(1);
    await login(approle, lasting);
  });

  it("finishes what the deletion of a role left behind", async () => {
    const approle = await open();
    for (let i = 0; i <= TIDY_BATCH; i++) await secretIdOf(approle);
    await approle.call("delete", "role/r");
    expect((await approle.dump()).size).toBeGreaterThan(1);
    await approle.call("update", "tidy/secret-id");
    expect([...(await approle.dump()).keys()]).toEqual(["salt"]);
  });
});

describe("approle: metadata of secret ids", () => {
  it.each([
    ['{"a":"b"}', { a: "b" }],
    [Buffer.from('{"a":"b"}').toString("base64"), { a: "b" }],
    ["k=v, x = y=z", { k: "v", x: "y=z" }],
    ["", {}],
  ])("%s", (sent, expected) => {
    expect(parseSecretMetadata(sent)).toEqual(expected);
  });

  it.each(['{"a":1}', '{"a"', "novalue", "=v", `k=${"v".repeat(SECRET_METADATA_BYTES_MAX)}`])("refuses %s", (sent) => {
    expect(() => parseSecretMetadata(sent)).toThrow();
  });
});
