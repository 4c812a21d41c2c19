import { describe, expect, it } from "vitest";
import { type Core, objectOf, startCore, textOf } from "#test/kit/core.ts";
import { MOUNT_SEGMENTS_MAX } from "../mounts/mount-table.ts";

const deep = (segments: number) => Array.from({ length: segments }, (_, i) => `s${i}`).join("/");

async function enable(core: Core, path: string, type = "kv") {
  return core.send(core.rootToken, "update", `sys/mounts/${path}`, { type });
}

async function uuidOf(core: Core, path: string): Promise<string> {
  return textOf((await core.root("read", `sys/mounts/${path}`)).data, "uuid");
}

describe("a mount's path", () => {
  it("has as many segments as routing looks at, and no more", async () => {
    const core = await startCore();
    expect((await enable(core, deep(MOUNT_SEGMENTS_MAX))).status).toBe(204);
    await core.root("update", `${deep(MOUNT_SEGMENTS_MAX)}/key`, { a: 1 });
    expect((await core.root("read", `${deep(MOUNT_SEGMENTS_MAX)}/key`)).data).toEqual({ a: 1 });
    const refused = await enable(core, `other/${deep(MOUNT_SEGMENTS_MAX)}`);
    expect([refused.status, refused.error]).toEqual([400, "a mount's path has at most 16 segments"]);
  });

  it.each([
    ["a/b", "a"],
    ["a", "a/b"],
    ["a/b", "a/b"],
    ["a/b/c/d", "a/b"],
    ["a/~b", "a"],
    ["a/%", "a"],
    ["a/ü", "a"],
  ])("is refused when it nests: %s, then %s", async (one, other) => {
    const core = await startCore();
    expect((await enable(core, one)).status).toBe(204);
    const refused = await enable(core, other);
    expect([refused.status, refused.error]).toEqual([400, `path is already in use at ${one}/`]);
  });

  it.each([
    ["a", "ab"],
    ["a/b", "a/c"],
    ["a/b", "a/bc"],
  ])("is free beside another: %s, %s", async (one, other) => {
    const core = await startCore();
    for (const path of [one, other]) expect((await enable(core, path)).status).toBe(204);
  });

  it.each(["sys", "sys/x", "auth", "auth/x", "cubbyhole", "cubbyhole/x", "identity", "identity/x", "a//b", "a/../b"])(
    "cannot be %s",
    async (path) => {
      const core = await startCore();
      expect((await enable(core, path)).status).toBe(400);
    },
  );

  it("is taken by one of two who ask at the same time, nested or not", async () => {
    for (const other of ["a", "a/b"]) {
      const core = await startCore();
      const replies = await Promise.all([enable(core, "a"), enable(core, other)]);
      expect(replies.map(({ status }) => status).sort()).toEqual([204, 400]);
    }
  });
});

describe("what is always mounted", () => {
  it.each(["sys", "cubbyhole", "identity"])("%s cannot be disabled", async (path) => {
    const core = await startCore();
    expect((await core.send(core.rootToken, "delete", `sys/mounts/${path}`)).status).toBe(400);
    expect((await core.send(core.rootToken, "delete", `sys/mounts/${path}/`)).status).toBe(400);
  });

  it("includes tokens, which cannot be disabled or mounted again", async () => {
    const core = await startCore();
    expect((await core.send(core.rootToken, "delete", "sys/auth/token")).status).toBe(400);
    expect((await core.send(core.rootToken, "update", "sys/auth/more", { type: "token" })).status).toBe(400);
  });

  it.each(["system", "cubbyhole", "identity", "token", "none"])("no other mount can be of type %s", async (type) => {
    const core = await startCore();
    expect((await enable(core, "x", type)).status).toBe(400);
  });
});

describe("a path that is mounted again", () => {
  it("has a new uuid and none of the old data, even before that is deleted", async () => {
    const core = await startCore();
    await enable(core, "kv");
    await core.root("update", "kv/a", { old: true });
    const before = await uuidOf(core, "kv");
    await core.root("delete", "sys/mounts/kv");
    await enable(core, "kv");
    expect(await uuidOf(core, "kv")).not.toBe(before);
    expect((await core.send(core.rootToken, "read", "kv/a")).status).toBe(404);
    expect([...(await core.dump(`mount/${before}/`)).keys()]).toHaveLength(1);
    await core.settle();
    expect([...(await core.dump(`mount/${before}/`)).keys()]).toEqual([]);
  });

  it("has its data deleted in slices when there is much of it", async () => {
    const core = await startCore();
    await enable(core, "kv");
    for (let i = 0; i < 1_050; i++) await core.root("update", `kv/${i}`, { i });
    await core.root("delete", "sys/mounts/kv");
    expect(await core.server.background.sweep()).toBe(true);
    expect((await core.dump("mount/")).size).toBe(50);
    await core.settle();
    expect((await core.dump("mount/")).size).toBe(0);
    expect((await core.dump("core/job/")).size).toBe(0);
  });

  it("does not mind being disabled twice", async () => {
    const core = await startCore();
    await enable(core, "kv");
    for (let i = 0; i < 2; i++) await core.root("delete", "sys/mounts/kv");
  });
});

describe("the lists of mounts", () => {
  it("show engines and auth methods apart, each with its accessor", async () => {
    const core = await startCore();
    await core.root("update", "sys/auth/users", { type: "userpass" });
    await enable(core, "kv");
    const [engines, methods] = [await core.root("read", "sys/mounts"), await core.root("read", "sys/auth")];
    expect(Object.keys(engines.data).sort()).toEqual(["cubbyhole/", "identity/", "kv/", "sys/"]);
    expect(Object.keys(methods.data).sort()).toEqual(["token/", "users/"]);
    expect(textOf(objectOf(methods.data, "users/"), "accessor")).toMatch(/^auth_userpass_[0-9a-f]{8}$/);
  });

  it("show a caller only what its policies reach", async () => {
    const core = await startCore();
    for (const path of ["mine", "other"]) await enable(core, path);
    await core.policy("mine", 'path "mine/*" { capabilities = ["read"] }');
    const token = await core.token({ policies: ["mine"] });
    const visible = await core.send(token, "read", "sys/internal/ui/mounts");
    expect(Object.keys(objectOf(visible.data, "secret"))).toContain("mine/");
    expect(Object.keys(objectOf(visible.data, "secret"))).not.toContain("other/");
    expect((await core.send(token, "read", "sys/internal/ui/mounts/mine/a")).status).toBe(200);
    expect((await core.send(token, "read", "sys/internal/ui/mounts/other/a")).status).toBe(403);
  });
});

describe("a mount's type", () => {
  const enabled = async (type: string, more = {}, path = "mounts/x") => {
    const core = await startCore();
    const { status, error } = await core.send(core.rootToken, "update", `sys/${path}`, { type, ...more });
    if (status >= 300) return error;
    const { data } = await core.root("read", `sys/${path}`);
    return { type: data["type"], version: objectOf(data, "options")["version"] };
  };

  it.each([
    ["kv-v1", {}, "1"],
    ["kv-v2", {}, "2"],
    ["kv-v2", { options: { version: "1" } }, "2"],
    ["plugin", { plugin_name: "kv", options: { version: "2" } }, "2"],
  ])("%s with %j is kv of version %s", async (type, more, version) => {
    expect(await enabled(type, more)).toEqual({ type: "kv", version });
  });

  it.each([
    ["", {}, "mounts/x", "backend type must be specified as a string"],
    ["plugin", {}, "mounts/x", "plugin_name must be provided for plugin backend"],
    ["kv-v3", {}, "mounts/x", "plugin not found in the catalog: kv-v3"],
    ["kv-v2", {}, "auth/x", "plugin not found in the catalog: kv-v2"],
    ["pki", { options: { version: "2" } }, "mounts/x", 'secrets engine "pki" does not allow setting a version'],
    ["approle", { options: { version: "2" } }, "auth/x", 'auth method "approle" does not allow setting a version'],
  ])("%j with %j is refused at %s", async (type, more, path, error) => {
    expect(await enabled(type, more, path)).toBe(error);
  });
});

describe("settings of a mount", () => {
  it.each([
    ["options", "x"],
    ["options", [1]],
    ["options", { version: { a: 1 } }],
    ["audit_non_hmac_request_keys", { a: 1 }],
    ["passthrough_request_headers", { a: 1 }],
    ["token_boundary_policies", { a: 1 }],
    ["token_boundary_policies", [{}]],
    ["force_no_cache", "maybe"],
    ["user_lockout_config", "x"],
    ["user_lockout_config", { lockout_disable: "maybe" }],
  ])("refuse for %s what is none: %j", async (name, value) => {
    const core = await startCore();
    const mount = "sys/auth/approle";
    const config = name === "options" ? { options: value } : { config: { [name]: value } };
    const enabled = await core.send(core.rootToken, "update", mount, { type: "approle", ...config });
    expect([enabled.status, enabled.error]).toEqual([
      400,
      expect.stringMatching(/options|config|_keys|_headers|_policies|cache|lockout/),
    ]);
    await core.root("update", mount, { type: "approle", config: { token_boundary_policies: ["b"] } });
    const tuned = await core.send(core.rootToken, "update", `${mount}/tune`, { [name]: value });
    expect(tuned.status).toBe(400);
    expect((await core.root("read", `${mount}/tune`)).data["token_boundary_policies"]).toEqual(["b"]);
  });

  it("take texts for lists and flags", async () => {
    const core = await startCore();
    await core.root("update", "sys/auth/approle", { type: "approle", config: { force_no_cache: "1" } });
    await core.root("update", "sys/auth/approle/tune", { token_boundary_policies: "B, a", options: null });
    const { data } = await core.root("read", "sys/auth/approle/tune");
    expect([data["force_no_cache"], data["token_boundary_policies"]]).toEqual([true, ["a", "b"]]);
  });
});
