// What a token may hand on and what it may not: policies, uses, periods, parents, addresses, with and without a role.
import { beforeEach, describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Core, objectOf, startCore, textOf } from "#test/kit/core.ts";

const MAKER = `path "auth/token/create" { capabilities = ["update"] }
path "auth/token/create/*" { capabilities = ["update"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }`;

let core: Core;
/** A token without sudo and without the default policy. */
let maker: string;

beforeEach(async () => {
  core = await startCore();
  await core.policy("maker", MAKER);
  for (const name of ["p", "q"]) await core.policy(name, 'path "x" { capabilities = ["read"] }');
  maker = await core.token({ policies: ["maker", "p"], no_default_policy: true, ttl: "1h" });
});

const create = (data: JsonObject, token = maker, path = "auth/token/create") => core.send(token, "update", path, data);
const role = (name: string, data: JsonObject) => core.send(core.rootToken, "update", `auth/token/roles/${name}`, data);
const lookup = async (token: string) => (await core.send(token, "read", "auth/token/lookup-self")).data;

describe("policies of a child", () => {
  it("are not default where the parent has not got it", async () => {
    expect((await create({ policies: ["p"] })).auth["token_policies"]).toEqual(["p"]);
    expect((await create({})).auth["token_policies"]).toEqual(["maker", "p"]);
    expect((await create({ policies: ["p", "default"] })).error).toBe("child policies must be subset of parent");
  });

  it("are none of the parent's when a list of blanks is sent", async () => {
    const parent = await core.token({ policies: ["maker", "p"], ttl: "1h" });
    for (const token of [parent, core.rootToken])
      expect((await create({ policies: ["", " "] }, token)).auth["token_policies"]).toEqual(["default"]);
    expect((await create({ policies: [""] })).auth["token_policies"]).toEqual([]);
  });

  it("are default besides where the parent has it, unless it is left out", async () => {
    const parent = await core.token({ policies: ["maker", "p"], ttl: "1h" });
    expect((await create({ policies: ["p"] }, parent)).auth["token_policies"]).toEqual(["default", "p"]);
    for (const policies of [[], ["maker", "p"], ["default", "maker", "p"]])
      expect((await create({ policies, no_default_policy: true }, parent)).auth["token_policies"]).toEqual([
        ...["maker", "p"],
      ]);
  });

  it("come from the role's list, without default where the role refuses it or it is left out", async () => {
    await role("listed", { allowed_policies: ["p", "q"], disallowed_policies: ["default"] });
    const made = (data: JsonObject, name = "listed") => create(data, maker, `auth/token/create/${name}`);
    expect((await made({})).auth["token_policies"]).toEqual(["p", "q"]);
    expect((await made({ policies: ["q"] })).auth["token_policies"]).toEqual(["q"]);
    await role("plain", { allowed_policies: ["p", "q"] });
    expect((await made({}, "plain")).auth["token_policies"]).toEqual(["default", "p", "q"]);
    expect((await made({ no_default_policy: true }, "plain")).auth["token_policies"]).toEqual(["p", "q"]);
  });

  it("are no more than the parent's by a role without a list, and any with sudo", async () => {
    await role("open", { disallowed_policies: ["q"] });
    const path = "auth/token/create/open";
    expect((await create({ policies: ["other"] }, maker, path)).error).toBe("child policies must be subset of parent");
    expect((await create({}, maker, path)).auth["token_policies"]).toEqual(["maker", "p"]);
    await core.policy("sudo", 'path "auth/token/create/*" { capabilities = ["update", "sudo"] }');
    const sudo = await core.token({ policies: ["sudo"], ttl: "1h" });
    expect((await create({ policies: ["other"] }, sudo, path)).auth["token_policies"]).toEqual(["default", "other"]);
    expect((await create({ policies: ["q"] }, sudo, path)).error).toBe('token policy "q" is disallowed by this role');
  });

  it("are never root by a root token that ends, for longer than it lives", async () => {
    const ending = await core.token({ policies: ["root"], ttl: "1h" });
    expect((await create({}, ending)).error).toBe("expiring root tokens cannot create non-expiring root tokens");
    expect((await create({ ttl: "10m" }, ending)).auth["lease_duration"]).toBe(600);
    expect((await create({ ttl: "10m" }, core.rootToken)).status).toBe(200);
  });
});

describe("what a role says", () => {
  const byRole = (data: JsonObject) => create(data, maker, "auth/token/create/r");

  it("about parents is not the client's to change", async () => {
    await role("r", {});
    const child = textOf((await byRole({ no_parent: true })).auth, "client_token");
    expect(await lookup(child)).toMatchObject({ orphan: false });
    await core.root("update", "auth/token/revoke", { token: maker });
    expect((await core.send(child, "read", "auth/token/lookup-self")).status).toBe(403);
  });

  it.each([
    [{}, 3],
    [{ num_uses: 0 }, 3],
    [{ num_uses: 2 }, 2],
    [{ num_uses: 9 }, 3],
  ])("about uses is the most that there can be: %j", async (data, uses) => {
    await role("r", { token_num_uses: 3 });
    expect((await byRole(data)).auth["num_uses"]).toBe(uses);
  });

  it("about periods and ends is the most that there can be, and a period of one's own wants sudo", async () => {
    await role("r", { token_period: 600, token_explicit_max_ttl: 1_200 });
    expect((await byRole({ period: "5m" })).error).toBe("root or sudo privileges required to create periodic token");
    const asked = { policies: ["p"], period: "5m", explicit_max_ttl: "1h" };
    const made = await create(asked, core.rootToken, "auth/token/create/r");
    expect(made.auth["lease_duration"]).toBe(300);
    expect(made.body["warnings"]).toEqual([
      "Explicit max TTL specified both during creation call and in role; using the lesser value of 1200 seconds",
      "Period specified both during creation call and in role; using the lesser value of 300 seconds",
    ]);
  });

  it("counts at renewals as it is then; without the role there are none", async () => {
    await role("r", { token_period: 600 });
    const token = textOf((await byRole({})).auth, "client_token");
    await role("r", { token_period: 1_200 });
    const renew = () => core.send(token, "update", "auth/token/renew-self");
    expect((await renew()).auth["lease_duration"]).toBe(1_200);
    await role("r", { token_explicit_max_ttl: 900 });
    expect((await renew()).auth["lease_duration"]).toBe(900);
    await core.root("delete", "auth/token/roles/r");
    expect(await renew()).toMatchObject({
      ...{ status: 400, error: 'original token role "r" could not be found, not renewing' },
    });
  });

  it("binds a token to the address that asked for it, within the role's blocks", async () => {
    await role("r", { token_strictly_bind_ip: true, token_bound_cidrs: ["10.0.0.0/8"] });
    expect((await core.root("read", "auth/token/roles/r")).data["token_strictly_bind_ip"]).toBe(true);
    const from = { remoteAddress: "10.1.2.3" };
    const made = await core.send(maker, "update", "auth/token/create/r", {}, from);
    const token = textOf(made.auth, "client_token");
    expect((await core.send(token, "read", "auth/token/lookup-self", {}, from)).data["bound_cidrs"]).toEqual([
      "10.1.2.3",
    ]);
    const beside = { remoteAddress: "10.1.2.4" };
    expect((await core.send(token, "read", "auth/token/lookup-self", {}, beside)).status).toBe(403);
    expect((await core.send(maker, "update", "auth/token/create/r", {}, { remoteAddress: "@" })).status).toBe(403);
  });

  it("must make sense", async () => {
    const batch = { token_type: "batch", orphan: true, renewable: false };
    const cannot = (what: string) => `'token_type' cannot be 'batch' when role is set to generate ${what}`;
    const cases: readonly (readonly [JsonObject, string])[] = [
      [{ ...batch, orphan: false }, cannot("non-orphan tokens")],
      [{ ...batch, renewable: true }, cannot("renewable tokens")],
      [{ ...batch, token_period: 60 }, cannot("periodic tokens")],
      [{ ...batch, token_explicit_max_ttl: 60 }, cannot("tokens with an explicit max TTL")],
      [{ ...batch, token_num_uses: 1 }, cannot("tokens with limited use count")],
      [{ token_bound_cidrs: ["nowhere"] }, 'token_bound_cidrs: "nowhere" is not a CIDR block such as 10.0.0.0/8'],
      [{ path_suffix: "a..b" }, "error registering path suffix: path cannot contain parent references"],
      [{ token_period: -1 }, "'token_period' cannot be negative"],
      [{ token_explicit_max_ttl: -1 }, "'token_explicit_max_ttl' cannot be negative"],
      [{ token_num_uses: -1 }, "'token_num_uses' cannot be negative"],
    ];
    for (const [data, error] of cases) expect(await role("bad", data)).toMatchObject({ status: 400, error });
    expect((await role("good", batch)).status).toBe(204);
    expect((await role("long", { token_explicit_max_ttl: "9999h" })).body["warnings"]).toEqual([
      expect.stringContaining("is greater than system/mount allowed value of 2764800 seconds"),
    ]);
  });

  it("about uses, periods and ends is not for batch tokens", async () => {
    await role("r", { token_type: "default-batch", token_num_uses: 1, token_period: 60, token_explicit_max_ttl: 60 });
    const { auth } = await byRole({ ttl: "10m" });
    expect(auth).toMatchObject({ token_type: "batch", num_uses: 0, lease_duration: 600 });
    for (let i = 0; i < 3; i++)
      expect((await core.send(textOf(auth, "client_token"), "read", "auth/token/lookup-self")).status).toBe(200);
  });
});

describe("renewals", () => {
  it("are refused by what is wrong with them", async () => {
    const renew = async (token: string) => (await core.send(token, "update", "auth/token/renew-self")).error;
    expect(await renew(core.rootToken)).toBe("lease is not renewable");
    expect(await renew(await core.token({ ttl: "1h", renewable: false }))).toBe("lease is not renewable");
  });
});

describe("tokens in namespaces", () => {
  it("have no text of the client's own, and none is made from above without sudo", async () => {
    await core.root("update", "sys/namespaces/n");
    const inside = { namespace: "n" };
    const custom = { id: "mine", policies: ["default"] };
    expect((await core.send(core.rootToken, "update", "auth/token/create", custom, inside)).error).toBe(
      "token IDs can only be manually specified in the root namespace",
    );
    await core.policy("below", 'path "n/auth/token/create" { capabilities = ["update"] }');
    const above = await core.token({ policies: ["below"], ttl: "1h" });
    expect((await core.send(above, "update", "auth/token/create", {}, inside)).error).toBe(
      "root or sudo privileges required to directly generate a token in a child namespace",
    );
    const made = await core.root("update", "auth/token/create", { policies: ["p"], no_default_policy: true }, inside);
    expect(made.auth["token_policies"]).toEqual(["p"]);
  });
});

describe("logins", () => {
  const login = async (settings: JsonObject, config: JsonObject = {}, remoteAddress = "10.1.2.3") => {
    await core.root("update", "sys/auth/up", { type: "userpass", config });
    await core.root("update", "auth/up/users/ann", { password: "pw", token_policies: ["maker"], ...settings });
    return core.send("", "update", "auth/up/login/ann", { password: "pw" }, { remoteAddress });
  };
  const from = (token: string, remoteAddress: string) =>
    core.send(token, "read", "auth/token/lookup-self", {}, { remoteAddress });

  it("bind strictly to the address they came from", async () => {
    const { auth } = await login({ token_strictly_bind_ip: true, token_bound_cidrs: ["10.0.0.0/8"] });
    expect((await core.root("read", "auth/up/users/ann")).data["token_strictly_bind_ip"]).toBe(true);
    const token = textOf(auth, "client_token");
    expect((await from(token, "10.1.2.3")).data["bound_cidrs"]).toEqual(["10.1.2.3"]);
    expect((await from(token, "10.1.2.4")).status).toBe(403);
  });

  it("that cannot be bound to an address are refused", async () => {
    expect((await login({ token_strictly_bind_ip: true }, {}, "")).status).toBe(403);
  });

  it("bind to the first address though the second factor comes from another", async () => {
    await login({ token_strictly_bind_ip: true });
    const { data } = await core.root("update", "identity/mfa/method/totp", { issuer: "c" });
    const id = textOf(data, "method_id");
    await core.root("update", "identity/mfa/login-enforcement/e", {
      ...{ mfa_method_ids: [id], auth_method_types: ["userpass"] },
    });
    const where = { remoteAddress: "10.9.9.9" };
    const waiting = await core.send("", "update", "auth/up/login/ann", { password: "pw" }, where);
    const requestId = textOf(objectOf(waiting.auth, "mfa_requirement"), "mfa_request_id");
    const deferred = await core.dump(`identity/mfa/login/${requestId}`);
    expect([...deferred.values()].join()).toContain('"boundCidrs":["10.9.9.9"]');
  });

  it("of a mount that gives batch tokens count no uses", async () => {
    const { auth } = await login({ token_num_uses: 1 }, { token_type: "batch" });
    expect(auth).toMatchObject({ token_type: "batch", num_uses: 0 });
    for (let i = 0; i < 3; i++) expect((await from(textOf(auth, "client_token"), "10.1.2.3")).status).toBe(200);
    const orphaning = { token: textOf(auth, "client_token") };
    expect((await core.send(core.rootToken, "update", "auth/token/revoke-orphan", orphaning)).error).toBe(
      "batch tokens cannot be revoked",
    );
  });
});
