import { describe, expect, it } from "vitest";
import { createHarness } from "../../framework/harness.ts";
import { acceptHash, BCRYPT_COST_MAX, hashPassword, PASSWORD_BYTES_MAX, verifyPassword } from "./password.ts";
import { userpassType } from "./userpass.ts";

const WRONG = { code: "invalid_request", message: "invalid username or password" };
/** Of the password "bcrypt password", made with a cost of 4. */
const BCRYPT = "$2b$04$umc20fq4K2vzXeotUTmpBOGtc.Df1ZsmYf.wuBHtq2VdmwI46BPWK";

async function open() {
  const userpass = await createHarness(userpassType);
  await userpass.call("update", "users/alice", {
    password: "pw one",
    token_policies: ["p2", "p1"],
    token_ttl: "20m",
    token_max_ttl: "40m",
  });
  return userpass;
}

describe("userpass: users", () => {
  it("shows the token's parameters and never the password", async () => {
    const userpass = await open();
    expect((await userpass.call("read", "users/alice"))?.data).toEqual({
      token_bound_cidrs: [],
      token_explicit_max_ttl: 0,
      token_max_ttl: 2400,
      token_no_default_policy: false,
      token_num_uses: 0,
      token_period: 0,
      token_policies: ["p2", "p1"],
      token_strictly_bind_ip: false,
      token_ttl: 1200,
      token_type: "default",
    });
    expect(JSON.stringify([...(await userpass.dump())])).not.toContain("pw one");
  });

  it("keeps names in lower case, lists and deletes them", async () => {
    const userpass = await open();
    await userpass.call("update", "users/Bob", { password: "b" });
    expect(await userpass.call("list", "users")).toEqual({ data: { keys: ["alice", "bob"] } });
    expect(await userpass.call("list", "users/")).toEqual({ data: { keys: ["alice", "bob"] } });
    await userpass.call("delete", "users/BOB");
    expect(await userpass.call("read", "users/bob")).toBeUndefined();
    await expect(userpass.call("update", "login/bob", { password: "b" })).rejects.toMatchObject(WRONG);
  });

  it("changes the password, the policies and the rest apart", async () => {
    const userpass = await open();
    await userpass.call("update", "users/alice/password", { password: "two" });
    await userpass.call("update", "users/alice/policies", { policies: "p3" });
    await userpass.call("update", "users/alice", { ttl: "30m" });
    await expect(userpass.call("update", "login/alice", { password: "pw one" })).rejects.toMatchObject(WRONG);
    const reply = await userpass.call("update", "login/alice", { password: "two" });
    expect(reply?.grant).toMatchObject({ policies: ["p3"], token: { ttlSeconds: 1800 } });
  });

  it.each([
    ["users/bob", { token_policies: "p1" }, "must provide either password or password_hash"],
    ["users/bob", { password: "x", password_hash: BCRYPT }, "must provide only one of password and password_hash"],
    ["users/bob", { password_hash: "plain" }, "password_hash must be a bcrypt hash"],
    ["users/bob", { password: "p".repeat(PASSWORD_BYTES_MAX + 1) }, "password is longer than 1024 bytes"],
    ["users/nobody/password", { password: "x" }, "username does not exist"],
    ["users/nobody/policies", { token_policies: "x" }, "username does not exist"],
    ["users/alice/password", {}, "must provide either password or password_hash"],
  ])("refuses %s %j", async (path, data, message) => {
    const userpass = await open();
    await expect(userpass.call("update", path, data)).rejects.toMatchObject({ code: "invalid_request", message });
  });
});

describe("userpass: login", () => {
  it("grants the user's token, whatever the case of the name", async () => {
    const userpass = await open();
    expect((await userpass.call("update", "login/ALICE", { password: "pw one" }))?.grant).toMatchObject({
      displayName: "alice",
      aliasName: "alice",
      policies: ["p2", "p1"],
      metadata: { username: "alice" },
      token: { ttlSeconds: 1200, maxTtlSeconds: 2400 },
    });
  });

  it("has one answer for a wrong password and an unknown user", async () => {
    const userpass = await open();
    await expect(userpass.call("update", "login/alice", { password: "no" })).rejects.toMatchObject(WRONG);
    await expect(userpass.call("update", "login/nobody", { password: "no" })).rejects.toMatchObject(WRONG);
    await expect(userpass.call("update", "login/alice", {})).rejects.toMatchObject({ message: "missing password" });
  });

  it("takes a bcrypt hash", async () => {
    const userpass = await open();
    await userpass.call("update", "users/carol", { password_hash: BCRYPT });
    expect((await userpass.call("update", "login/carol", { password: "bcrypt password" }))?.grant?.displayName).toBe(
      "carol",
    );
    await expect(userpass.call("update", "login/carol", { password: "no" })).rejects.toMatchObject(WRONG);
  });

  it("holds to the token's blocks of addresses", async () => {
    const userpass = await open();
    await userpass.call("update", "users/alice", { bound_cidrs: "10.0.0.0/8" });
    const login = (remoteAddress: string) =>
      userpass.call("update", "login/alice", { password: "pw one" }, { remoteAddress });
    expect((await login("10.1.1.1"))?.grant?.token.boundCidrs).toEqual(["10.0.0.0/8"]);
    await expect(login("192.0.2.1")).rejects.toMatchObject({ code: "permission_denied" });
  });
});

describe("userpass: hashes", () => {
  it("are salted and checked", async () => {
    const [one, two] = [await hashPassword("x"), await hashPassword("x")];
    expect(one).not.toBe(two);
    expect(await verifyPassword("x", one)).toBe(true);
    expect(await verifyPassword("y", one)).toBe(false);
  });

  it("say no without a user, after the same work", async () => {
    expect(await verifyPassword("x", undefined)).toBe(false);
  });

  it("limits the cost of bcrypt", () => {
    const hash = (cost: number) => `$2b$${String(cost).padStart(2, "0")}$${"a".repeat(53)}`;
    expect(acceptHash(hash(BCRYPT_COST_MAX))).toBe(hash(BCRYPT_COST_MAX));
    expect(() => acceptHash(hash(BCRYPT_COST_MAX + 1))).toThrow();
  });
});
