// What a token hands down to those made of it: who logged in, and from where it may be used.
import { describe, expect, it } from "vitest";
import { type Core, startCore, textOf } from "#test/kit/core.ts";

const OWN = `path "secret/{{token.metadata.username}}/*" { capabilities = ["create", "update", "read"] }
path "auth/token/create*" { capabilities = ["update"] }
path "auth/token/lookup-self" { capabilities = ["read"] }`;

async function loggedIn(settings: { boundary?: boolean } = {}): Promise<{ core: Core; ann: string }> {
  const core = await startCore();
  await core.root("update", "sys/mounts/secret", { type: "kv", options: { version: "1" } });
  for (const name of ["ann", "bob"]) await core.root("update", `secret/${name}/x`, { v: name });
  await core.policy("own", OWN);
  await core.policy("wide", 'path "*" { capabilities = ["create", "update", "read"] }');
  const config = settings.boundary ? { token_boundary_policies: ["own"] } : {};
  await core.root("update", "sys/auth/users", { type: "userpass", config });
  await core.root("update", "auth/users/users/ann", {
    password: "pw",
    token_policies: [settings.boundary ? "wide" : "own"],
  });
  const { auth } = await core.send("", "update", "auth/users/login/ann", { password: "pw" });
  return { core, ann: textOf(auth, "client_token") };
}

describe("templates of token metadata", () => {
  it.each([{ boundary: false }, { boundary: true }])(
    "are filled by the login, not by its children %j",
    async (settings) => {
      const { core, ann } = await loggedIn(settings);
      expect((await core.send(ann, "read", "secret/ann/x")).data).toEqual({ v: "ann" });
      expect((await core.send(ann, "read", "secret/bob/x")).status).toBe(403);
      await core.root("update", "auth/token/roles/any", { orphan: true });
      for (const path of ["auth/token/create", "auth/token/create/any"]) {
        const { auth } = await core.send(ann, "update", path, { meta: { username: "bob" } });
        const child = textOf(auth, "client_token");
        expect((await core.send(child, "read", "secret/bob/x")).status).toBe(403);
        expect((await core.send(child, "read", "secret/ann/x")).data).toEqual({ v: "ann" });
      }
    },
  );

  it("are not filled by what a client puts into a secret id", async () => {
    const { core } = await loggedIn();
    await core.root("update", "sys/auth/approle", { type: "approle" });
    await core.root("update", "auth/approle/role/r", { token_policies: ["own"] });
    const roleId = (await core.root("read", "auth/approle/role/r/role-id")).data["role_id"] ?? "";
    const made = await core.root("update", "auth/approle/role/r/secret-id", { metadata: '{"username":"bob"}' });
    const secretId = made.data["secret_id"] ?? "";
    const { auth } = await core.send("", "update", "auth/approle/login", { role_id: roleId, secret_id: secretId });
    expect((await core.send(textOf(auth, "client_token"), "read", "secret/bob/x")).status).toBe(403);
  });
});

describe("addresses", () => {
  it("bind children as they bind the parent", async () => {
    const { core } = await loggedIn();
    await core.root("update", "auth/users/users/bob", {
      ...{ password: "pw", token_policies: ["own"], token_bound_cidrs: ["10.1.0.0/16"] },
    });
    const inside = { remoteAddress: "10.1.2.3" };
    const login = await core.send("", "update", "auth/users/login/bob", { password: "pw" }, inside);
    const bob = textOf(login.auth, "client_token");
    const child = textOf((await core.send(bob, "update", "auth/token/create", {}, inside)).auth, "client_token");
    const grandchild = textOf((await core.send(child, "update", "auth/token/create", {}, inside)).auth, "client_token");
    for (const token of [bob, child, grandchild]) {
      expect((await core.send(token, "read", "secret/bob/x", {}, inside)).status).toBe(200);
      expect((await core.send(token, "read", "secret/bob/x", {}, { remoteAddress: "192.0.2.1" })).status).toBe(403);
    }
  });
});
