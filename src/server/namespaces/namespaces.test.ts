// Namespaces over the whole pipeline: how requests find theirs, and that what is in one is seen from above and from
// nowhere else.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Core, objectOf, type SendOptions, startCore, textOf } from "#test/kit/core.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { NAMESPACE_DEPTH_MAX } from "./namespace-record.ts";

const ALL = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo"] }';

/** Namespaces a, a/b and c, each with a KV that says where it is, and the policy "all". */
async function startTree(): Promise<Core> {
  const core = await startCore();
  await core.root("update", "sys/namespaces/a");
  await core.root("update", "sys/namespaces/b", {}, { namespace: "a" });
  await core.root("update", "sys/namespaces/c");
  for (const namespace of ["", "a", "a/b", "c"]) {
    await core.root("update", "sys/mounts/kv", { type: "kv" }, { namespace });
    await core.root("update", "kv/where", { v: namespace }, { namespace });
    await core.root("update", "sys/policies/acl/all", { policy: ALL }, { namespace });
  }
  return core;
}

async function tokenIn(core: Core, namespace: string, data: JsonObject = { policies: ["all"] }): Promise<string> {
  return textOf((await core.root("update", "auth/token/create", data, { namespace })).auth, "client_token");
}

describe("the namespace of a request", () => {
  it.each<[string, string]>([
    ["", "kv/where"],
    ["", "a/kv/where"],
    ["", "a/b/kv/where"],
    ["a", "kv/where"],
    ["a", "b/kv/where"],
    ["a/b", "kv/where"],
    ["root", "c/kv/where"],
  ])("is that of the header (%j) and then that of the path (%s)", async (namespace, path) => {
    const core = await startTree();
    const expected = [
      namespace === "root" ? "" : namespace,
      path.slice(0, -"/kv/where".length).replace("kv/where", ""),
    ];
    const reply = await core.root("read", path, {}, { namespace });
    expect(reply.data).toEqual({ v: expected.filter((part) => part !== "" && part !== "kv").join("/") });
  });

  it("is not found by a header that names none, at any depth", async () => {
    const core = await startTree();
    for (const namespace of ["none", "a/none", "a/b/none", "b", `${"a/".repeat(NAMESPACE_DEPTH_MAX)}a`]) {
      const reply = await core.send(core.rootToken, "read", "kv/where", {}, { namespace });
      expect([reply.status, reply.error]).toEqual([404, "namespace not found"]);
    }
  });

  it("costs a request of the root namespace no read", async () => {
    const storage = openMemoryStorage();
    const asked: string[] = [];
    const get = storage.get.bind(storage);
    storage.get = (keys) => {
      asked.push(...keys);
      return get(keys);
    };
    const core = await startCore({ storage });
    await core.root("update", "sys/namespaces/a");
    await core.root("update", "sys/mounts/kv", { type: "kv" });
    await core.root("update", "kv/x", { v: "1" });
    asked.length = 0;
    await core.root("read", "kv/x");
    expect(asked.filter((key) => key.includes("namespace") || key.startsWith("ns/"))).toEqual([]);
    expect(asked.length).toBeGreaterThan(0);
  });

  it("keeps its name from mounts, and a mount's name from namespaces", async () => {
    const core = await startTree();
    const taken = await core.send(core.rootToken, "update", "sys/mounts/a/kv2", { type: "kv" });
    expect([taken.status, taken.error]).toEqual([
      400,
      "path is already in use at a/: there is a namespace of this name",
    ]);
    await core.root("update", "sys/mounts/deep/er", { type: "kv" });
    for (const name of ["kv", "deep"])
      expect((await core.send(core.rootToken, "update", `sys/namespaces/${name}`)).status).toBe(400);
  });

  it("has quotas of its own", async () => {
    const core = await startTree();
    await core.root(
      "update",
      "sys/quotas/rate-limit/few",
      { rate: 2, interval: "1m", path: "kv/" },
      { namespace: "a" },
    );
    const ask = (namespace: string) => core.send(core.rootToken, "read", "kv/where", {}, { namespace });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await ask("a")).status, (await ask("c")).status);
    expect(statuses).toEqual([200, 200, 200, 200, 429, 200]);
    expect((await core.send(core.rootToken, "list", "sys/quotas/rate-limit")).status).toBe(404);
  });
});

describe("a namespace's own", () => {
  it("mounts, policies and identities are shown in it alone", async () => {
    const core = await startTree();
    const mounts = (await core.root("read", "sys/mounts", {}, { namespace: "a" })).data;
    expect(Object.keys(mounts).sort()).toEqual(["cubbyhole/", "identity/", "kv/", "sys/"]);
    expect(objectOf(mounts, "sys/")["type"]).toBe("ns_system");
    expect((await core.root("list", "sys/policies/acl", {}, { namespace: "a/b" })).data).toEqual({
      keys: ["all", "default"],
    });
    await core.root("update", "identity/entity", { name: "ann" }, { namespace: "a" });
    expect((await core.send(core.rootToken, "read", "identity/entity/name/ann")).status).toBe(404);
    expect((await core.root("read", "identity/entity/name/ann", {}, { namespace: "a" })).status).toBe(200);
  });

  it("paths of the whole server are not in it", async () => {
    const core = await startTree();
    for (const path of [
      "sys/audit",
      "sys/health",
      "sys/metrics",
      "sys/config/cors",
      "sys/key-status",
      "sys/quotas/config",
      "sys/generate-root-token/attempt",
      "sys/pprof",
    ]) {
      const reply = await core.send(core.rootToken, "read", path, {}, { namespace: "a" });
      expect([path, reply.status, reply.error]).toEqual([path, 400, "operation unavailable in namespaces"]);
    }
  });

  it("audit lines name it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-ns-"));
    const core = await startTree();
    const file = join(folder, "audit.log");
    await core.root("update", "sys/audit/file", { type: "file", options: { file_path: file } });
    await core.root("read", "a/b/kv/where");
    await core.root("read", "kv/where");
    const id = textOf((await core.root("read", "sys/namespaces/b", {}, { namespace: "a" })).data, "id");
    const seen = (await readFile(file, "utf8"))
      .trim()
      .split("\n")
      .map((line): { request: { path: string; namespace: JsonObject } } => JSON.parse(line))
      .filter(({ request }) => request.path === "kv/where")
      .map(({ request }) => request.namespace);
    expect(seen).toContainEqual({ id, path: "a/b/" });
    expect(seen).toContainEqual({ id: "root", path: "" });
    await core.services.audit.close();
    await rm(folder, { recursive: true });
  });
});

describe("tokens and namespaces", () => {
  it("a token acts in its own namespace and below, by its own policies from there", async () => {
    const core = await startTree();
    const token = await tokenIn(core, "a");
    expect(token).toMatch(/\.[0-9A-Za-z]{6}$/);
    const statusIn = async (namespace: string) =>
      (await core.send(token, "read", "kv/where", {}, { namespace })).status;
    expect([await statusIn("a"), await statusIn("a/b"), await statusIn(""), await statusIn("c")]).toEqual([
      200, 200, 403, 403,
    ]);
    await core.root(
      "update",
      "sys/policies/acl/below",
      { policy: 'path "b/kv/*" { capabilities = ["read"] }' },
      { namespace: "a" },
    );
    const below = await tokenIn(core, "a", { policies: ["below"] });
    expect((await core.send(below, "read", "b/kv/where", {}, { namespace: "a" })).data).toEqual({ v: "a/b" });
    expect((await core.send(below, "read", "kv/where", {}, { namespace: "a" })).status).toBe(403);
    const asked = await core.root("update", "sys/capabilities", {
      token: below,
      paths: ["a/b/kv/where", "b/kv/where"],
    });
    expect([asked.data["a/b/kv/where"], asked.data["b/kv/where"]]).toEqual([["read"], ["deny"]]);
    const inside = { namespace: "a/b" };
    const own = await core.send(token, "update", "sys/capabilities-self", { paths: ["kv/where"] }, inside);
    expect(own.data["kv/where"]).toContain("read");
  });

  it("names of policies in one mean nothing in another, without sudo", async () => {
    const core = await startTree();
    await core.policy("maker", 'path "a/auth/token/create" { capabilities = ["update"] }');
    const maker = await core.token({ policies: ["maker", "all"].slice(0, 1) });
    const create = (data: JsonObject) => core.send(maker, "update", "auth/token/create", data, { namespace: "a" });
    expect((await create({ policies: ["maker"] })).status).toBe(400);
    expect((await create({ policies: ["all"] })).status).toBe(400);
    expect((await create({})).status).toBe(400);
  });

  it("there is no root token in a namespace", async () => {
    const core = await startTree();
    for (const data of [{}, { policies: ["root"] }]) {
      const reply = await core.send(core.rootToken, "update", "auth/token/create", data, { namespace: "a" });
      if (reply.status === 200) expect(reply.auth["token_policies"]).toEqual(["default"]);
      else expect(reply.error).toBe("root tokens may not be created from a non-root namespace");
    }
    const admin = await tokenIn(core, "a");
    expect(
      (await core.send(admin, "update", "auth/token/create", { policies: ["root"] }, { namespace: "a" })).status,
    ).toBe(400);
  });

  it("end with their parents above, and so do leases", async () => {
    const core = await startTree();
    const parent = await core.token({ policies: ["root"] });
    const created = await core.send(parent, "update", "auth/token/create", { policies: ["all"] }, { namespace: "a" });
    const child = textOf(created.auth, "client_token");
    const look = () => core.send(child, "read", "kv/where", {}, { namespace: "a" });
    expect((await look()).status).toBe(200);
    await core.root("update", "auth/token/revoke", { token: parent });
    expect((await look()).status).toBe(403);
    expect([...(await core.dump("ns/")).keys()].filter((key) => key.includes("/core/lease/"))).toEqual([]);
  });

  it("are looked up from above by token and accessor, and not from beside", async () => {
    const core = await startTree();
    const token = await tokenIn(core, "a");
    const from = (namespace: string, path: string, data: JsonObject) =>
      core.send(core.rootToken, "update", path, data, { namespace });
    const found = await from("", "auth/token/lookup", { token });
    expect(found.data["namespace_path"]).toBe("a/");
    const accessor = textOf(found.data, "accessor");
    expect((await from("", "auth/token/lookup-accessor", { accessor })).data["namespace_path"]).toBe("a/");
    expect((await from("c", "auth/token/lookup", { token })).status).toBe(403);
    expect((await from("c", "auth/token/lookup-accessor", { accessor })).status).toBe(400);
    expect((await from("c", "auth/token/revoke", { token })).status).toBe(204);
    expect((await core.send(token, "read", "kv/where", {}, { namespace: "a" })).status).toBe(200);
    expect((await from("", "auth/token/revoke-accessor", { accessor })).status).toBe(204);
    expect((await core.send(token, "read", "kv/where", {}, { namespace: "a" })).status).toBe(403);
  });

  it("batch tokens are of a namespace as well", async () => {
    const core = await startTree();
    const batch = await tokenIn(core, "a", { type: "batch", policies: ["all"] });
    expect((await core.send(batch, "read", "kv/where", {}, { namespace: "a" })).status).toBe(200);
    expect((await core.send(batch, "read", "kv/where")).status).toBe(403);
    expect((await core.send(batch.slice(0, -7), "read", "kv/where", {}, { namespace: "a" })).status).toBe(403);
  });

  it("a token has one cubbyhole, which ends with it", async () => {
    const core = await startTree();
    const token = await core.token({ policies: ["all"] });
    await core.send(token, "update", "cubbyhole/x", { v: "mine" }, { namespace: "a" });
    expect((await core.send(token, "read", "cubbyhole/x")).data).toEqual({ v: "mine" });
    expect(await core.root("list", "cubbyhole").catch((error: Error) => error.message)).toContain("404");
    await core.root("update", "auth/token/revoke", { token });
    expect([...(await core.dump("mount/")).values()].join()).not.toContain("mine");
  });

  it("wrapped answers are opened where they were made and above", async () => {
    const core = await startTree();
    const options: SendOptions = { namespace: "a", wrapTtlSeconds: 60 };
    const wrap = async () => {
      const { body } = await core.root("read", "kv/where", {}, options);
      return textOf(objectOf(body, "wrap_info"), "token");
    };
    const open = (token: string, namespace: string) =>
      core.send("", "update", "sys/wrapping/unwrap", { token }, { namespace });
    expect((await open(await wrap(), "c")).status).toBe(400);
    expect((await open(await wrap(), "a")).data).toEqual({ v: "a" });
    expect((await open(await wrap(), "")).data).toEqual({ v: "a" });
  });
});

describe("sys/namespaces", () => {
  it("lists children, and all below by SCAN", async () => {
    const core = await startTree();
    expect((await core.root("list", "sys/namespaces")).data["keys"]).toEqual(["a/", "c/"]);
    expect((await core.root("scan", "sys/namespaces")).data["keys"]).toEqual(["a/", "a/b/", "c/"]);
    expect((await core.root("list", "sys/namespaces", {}, { namespace: "a" })).data["keys"]).toEqual(["b/"]);
    expect((await core.send(core.rootToken, "list", "sys/namespaces", {}, { namespace: "c" })).status).toBe(404);
    expect((await core.root("list", "sys/namespaces", {}, { limit: 1 })).data["keys"]).toEqual(["a/"]);
  });

  it("makes no namespace of two by one name, nor deeper than there may be", async () => {
    const core = await startCore();
    const first = await core.root("update", "sys/namespaces/x");
    const again = await core.root("update", "sys/namespaces/x", { custom_metadata: { k: "v" } });
    expect(again.data["id"]).toBe(first.data["id"]);
    const weak = await core.root("update", "sys/namespaces/x", { custom_metadata: { tier: 1, paid: true } });
    expect(weak.data["custom_metadata"]).toEqual({ tier: "1", paid: "true" });
    let namespace = "x";
    for (let depth = 2; depth <= NAMESPACE_DEPTH_MAX; depth++) {
      await core.root("update", "sys/namespaces/y", {}, { namespace });
      namespace += "/y";
    }
    const tooDeep = await core.send(core.rootToken, "update", "sys/namespaces/y", {}, { namespace });
    expect([tooDeep.status, tooDeep.error]).toEqual([400, `namespaces are nested at most ${NAMESPACE_DEPTH_MAX} deep`]);
  });

  it.each(["root", "sys", "audit", "auth", "cubbyhole", "identity", "a b", "a/b", "..", "x".repeat(600)])(
    "refuses the name %s",
    async (name) => {
      const core = await startCore();
      expect((await core.send(core.rootToken, "update", `sys/namespaces/${name}`)).status).toBe(400);
    },
  );

  it("locks the API of a namespace and of those below, until the key comes", async () => {
    const core = await startTree();
    const key = textOf((await core.root("update", "sys/namespaces/api-lock/lock/a")).data, "unlock_key");
    for (const namespace of ["a", "a/b"]) {
      const refused = await core.send(core.rootToken, "read", "kv/where", {}, { namespace });
      expect([refused.status, refused.error]).toEqual([
        503,
        'API access to this namespace has been locked by an administrator - "a/" must be unlocked to gain access.',
      ]);
    }
    expect((await core.send(core.rootToken, "read", "a/kv/where")).status).toBe(503);
    expect((await core.root("read", "kv/where", {}, { namespace: "c" })).status).toBe(200);
    expect((await core.root("read", "sys/namespaces/a")).data["locked"]).toBe(true);
    const admin = await core.token({ policies: ["all"] });
    const unlock = (unlock_key: string) =>
      core.send(admin, "update", "sys/namespaces/api-lock/unlock/a", { unlock_key });
    expect((await unlock("")).status).toBe(400);
    expect((await unlock(`${key}x`)).status).toBe(400);
    expect((await unlock(key)).status).toBe(204);
    expect((await core.root("read", "kv/where", {}, { namespace: "a/b" })).status).toBe(200);
    expect((await core.send(core.rootToken, "update", "sys/namespaces/api-lock/lock")).status).toBe(400);
    const again = textOf((await core.root("update", "sys/namespaces/api-lock/lock", { path: "a" })).data, "unlock_key");
    expect((await core.send(core.rootToken, "read", "a/kv/where")).status).toBe(503);
    await core.root("update", "sys/namespaces/api-lock/unlock", { path: "a/", unlock_key: again });
    expect((await core.root("read", "a/kv/where")).status).toBe(200);
  });

  it("moves mounts from one to another", async () => {
    const core = await startTree();
    await core.root("update", "sys/mounts/moving", { type: "kv" }, { namespace: "a" });
    await core.root("update", "moving/x", { v: "1" }, { namespace: "a" });
    await core.root("update", "sys/remount", { from: "a/moving", to: "c/moved" });
    expect((await core.root("read", "moved/x", {}, { namespace: "c" })).data).toEqual({ v: "1" });
    expect((await core.send(core.rootToken, "read", "a/moving/x")).status).toBe(404);
    const out = await core.send(
      await tokenIn(core, "c"),
      "update",
      "sys/remount",
      { from: "moved", to: "../x" },
      { namespace: "c" },
    );
    expect(out.status).toBe(400);
    expect((await core.send(core.rootToken, "update", "sys/remount", { from: "c/moved", to: "a" })).status).toBe(400);
  });
});
