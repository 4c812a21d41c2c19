// What else a request can be, in a namespace: one that brings its login, one that waits for approval, a subscription.
import { describe, expect, it } from "vitest";
import { type Core, objectOf, requestOf, startCore, textOf } from "#test/kit/core.ts";

const ALL = 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "subscribe"] }';
const IN = { namespace: "n" };

async function startWithUser(): Promise<Core> {
  const core = await startCore();
  for (const name of ["n", "other"]) await core.root("update", `sys/namespaces/${name}`);
  for (const namespace of ["", "n", "other"]) {
    await core.root("update", "sys/mounts/kv", { type: "kv" }, { namespace });
    await core.root("update", "kv/a", { v: namespace }, { namespace });
    await core.root("update", "sys/policies/acl/all", { policy: ALL }, { namespace });
  }
  await core.root("update", "sys/auth/up", { type: "userpass" }, IN);
  for (const user of ["ann", "ben"])
    await core.root("update", `auth/up/users/${user}`, { password: "pw", token_policies: ["all"] }, IN);
  return core;
}

async function logIn(core: Core, user: string) {
  return (await core.send("", "update", `auth/up/login/${user}`, { password: "pw" }, IN)).auth;
}

describe("a request that brings its login", () => {
  it("logs in where the header says, and acts there and below alone", async () => {
    const core = await startWithUser();
    const password = Buffer.from(JSON.stringify({ key: "password", value: "pw" })).toString("base64url");
    const headers = { "x-vault-inline-auth-path": "auth/up/login/ann", "x-vault-inline-auth-parameter-p": password };
    const read = (namespace: string, more = {}) =>
      core.send("", "read", "kv/a", {}, { namespace, headers: { ...headers, ...more } });
    expect((await read("n")).data).toEqual({ v: "n" });
    const named = { "x-vault-inline-auth-namespace": "n" };
    expect((await read("n", named)).data).toEqual({ v: "n" });
    expect((await read("other", named)).status).toBe(403);
    expect((await read("", named)).status).toBe(403);
    expect((await read("other")).status).toBe(400);
  });
});

describe("what identity shows", () => {
  it("names the namespace that it is of", async () => {
    const core = await startWithUser();
    const id = textOf((await core.root("read", "sys/namespaces/n")).data, "id");
    const ann = await logIn(core, "ann");
    const entity = await core.root("read", `identity/entity/id/${textOf(ann, "entity_id")}`, {}, IN);
    expect(entity.data["namespace_id"]).toBe(id);
    const made = await core.root("update", "identity/group", { name: "g" }, IN);
    const group = await core.root("read", `identity/group/id/${textOf(made.data, "id")}`, {}, IN);
    expect(group.data["namespace_id"]).toBe(id);
    const method = await core.root("update", "identity/mfa/method/totp", { issuer: "c" }, IN);
    const shown = await core.root("read", `identity/mfa/method/totp/${textOf(method.data, "method_id")}`, {}, IN);
    expect(shown.data).toMatchObject({ namespace_id: id, namespace_path: "n/" });
    const outside = await core.root("update", "identity/entity", { name: "e" });
    expect((await core.root("read", `identity/entity/id/${textOf(outside.data, "id")}`)).data["namespace_id"]).toBe(
      "root",
    );
  });
});

describe("a request that waits for approval", () => {
  it("is approved by groups of its requester's namespace, and done there", async () => {
    const core = await startWithUser();
    const ben = await logIn(core, "ben");
    await core.root("update", "identity/group", { name: "approvers", member_entity_ids: [ben["entity_id"] ?? ""] }, IN);
    const factor = 'factor "f" { identity { group_names = ["approvers"] approvals = 1 } }';
    const policy = `path "kv/*" { capabilities = ["read"] control_group { ${factor} } }`;
    await core.root("update", "sys/policies/acl/controlled", { policy }, IN);
    await core.root("update", "auth/up/users/ann", { password: "pw", token_policies: ["controlled"] }, IN);
    const ann = textOf(await logIn(core, "ann"), "client_token");
    const held = await core.send(ann, "read", "kv/a", {}, IN);
    const wrapping = objectOf(held.body, "wrap_info");
    const accessor = textOf(wrapping, "accessor");
    const token = textOf(wrapping, "token");
    const unwrap = (namespace: string) => core.send(ann, "update", "sys/wrapping/unwrap", { token }, { namespace });
    expect((await unwrap("n")).status).toBe(400);
    const approve = (namespace: string) =>
      core.send(textOf(ben, "client_token"), "update", "sys/control-group/authorize", { accessor }, { namespace });
    expect((await approve("other")).status).toBe(403);
    expect((await approve("n")).data).toEqual({ approved: true });
    expect((await unwrap("other")).status).toBe(400);
    expect((await unwrap("n")).data).toEqual({ v: "n" });
  });
});

describe("a subscription", () => {
  it("tells a token of a namespace what happens in it and below, whatever it asks for", async () => {
    const core = await startWithUser();
    const token = textOf(await logIn(core, "ann"), "client_token");
    const query = { json: "true", namespaces: "*" };
    const request = requestOf(token, "read", "sys/events/subscribe/kv*", query, IN);
    const { stream, status } = await core.server.serve({ ...request, upgrade: "websocket" });
    if (!stream) throw new Error(`answered ${status}`);
    for (const namespace of ["", "other", "n"]) await core.root("update", "kv/b", { v: "1" }, { namespace });
    const delivery = await stream.next(new AbortController().signal);
    const seen =
      "texts" in delivery ? delivery.texts.map((text): { data: { namespace: string } } => JSON.parse(text)) : [];
    expect(seen.map(({ data }) => data.namespace)).toEqual(["n"]);
    stream.close();
  });
});
