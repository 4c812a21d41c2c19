// KV calls over mounts of both versions.
import { describe, expect, it } from "vitest";
import { HastyClock } from "#test/hasty-clock.ts";
import { enveloped, refused, type Script, startScriptedApi } from "#test/scripted-api.ts";
import { createApiClient } from "./api-client.ts";
import { createKv } from "./kv.ts";

const MOUNTS: Script = ({ path }) => {
  const rest = path.replace("sys/internal/ui/mounts/", "");
  if (rest.startsWith("v2/deep")) return enveloped({ path: "v2/deep/", type: "kv", options: { version: "2" } });
  if (rest.startsWith("v1")) return enveloped({ path: "v1/", type: "kv", options: { version: "1" } });
  if (rest.startsWith("db")) return enveloped({ path: "db/", type: "database", options: null });
  return refused(403, "preflight capability check returned 403");
};

async function withKv(script: Script) {
  const api = await startScriptedApi((seen) => (seen.path.startsWith("sys/internal/") ? MOUNTS(seen) : script(seen)));
  const client = createApiClient({ address: api.address, retries: 0, clock: new HastyClock() });
  const calls = () => api.seen.filter((s) => !s.path.startsWith("sys/")).map((s) => [s.method, s.path, s.body]);
  return {
    api,
    kv: createKv(client),
    calls,
    async [Symbol.asyncDispose]() {
      client.close();
      await api[Symbol.asyncDispose]();
    },
  };
}

const secret = enveloped({ data: { user: "u" }, metadata: { version: 4 } });

describe("version 2", () => {
  it("inserts data/ behind the mount and asks for a version", async () => {
    await using t = await withKv(() => secret);
    expect(await t.kv.read("v2/deep/team/db", { version: 3 })).toEqual({
      data: { user: "u" },
      metadata: { version: 4 },
    });
    expect(t.api.seen.at(-1)).toMatchObject({ path: "v2/deep/data/team/db", query: { version: "3" } });
    await t.kv.read("/v2/deep/team/db/", { version: 0 });
    expect(t.api.seen.at(-1)).toMatchObject({ path: "v2/deep/data/team/db", query: {} });
    expect(t.api.seen.filter((s) => s.path.startsWith("sys/")).length).toBe(1);
  });

  it("writes, patches and deletes in the shapes of the API", async () => {
    await using t = await withKv(() => enveloped({ version: 5 }));
    expect(await t.kv.write("v2/deep/a", { x: "1" }, { cas: 0 })).toEqual({ version: 5 });
    await t.kv.patch("v2/deep/a", { x: null });
    await t.kv.delete("v2/deep/a");
    await t.kv.delete("v2/deep/a", { versions: [1, 2] });
    await t.kv.undelete("v2/deep/a", [1]);
    await t.kv.destroy("v2/deep/a", [2]);
    await t.kv.writeMetadata("v2/deep/a", { max_versions: 3 });
    await t.kv.deleteMetadata("v2/deep/a");
    expect(t.calls()).toEqual([
      ["PUT", "v2/deep/data/a", { data: { x: "1" }, options: { cas: 0 } }],
      ["PATCH", "v2/deep/data/a", { data: { x: null } }],
      ["DELETE", "v2/deep/data/a", undefined],
      ["PUT", "v2/deep/delete/a", { versions: [1, 2] }],
      ["PUT", "v2/deep/undelete/a", { versions: [1] }],
      ["PUT", "v2/deep/destroy/a", { versions: [2] }],
      ["PUT", "v2/deep/metadata/a", { max_versions: 3 }],
      ["DELETE", "v2/deep/metadata/a", undefined],
    ]);
  });

  it("lists the mount itself and folders", async () => {
    await using t = await withKv(() => enveloped({ keys: ["a"] }));
    expect(await t.kv.list("v2/deep/")).toEqual(["a"]);
    await t.kv.list("v2/deep/team");
    expect(t.calls().map(([, path]) => path)).toEqual(["v2/deep/metadata", "v2/deep/metadata/team"]);
  });

  it("tells a deleted version as 404 with its metadata", async () => {
    const deleted = { data: null, metadata: { version: 2, deletion_time: "2026-01-01T00:00:00Z" } };
    await using t = await withKv(() => ({ ...enveloped(deleted), status: 404 }));
    await expect(t.kv.read("v2/deep/a")).rejects.toMatchObject({ status: 404, body: { data: deleted } });
  });
});

describe("version 1 and others", () => {
  it("uses the path as it is", async () => {
    await using t = await withKv(() => enveloped({ user: "u" }));
    expect(await t.kv.read("v1/a")).toEqual({ data: { user: "u" }, metadata: undefined });
    await t.kv.write("v1/a", { user: "u" });
    await t.kv.delete("v1/a");
    expect(t.calls().slice(1)).toEqual([
      ["PUT", "v1/a", { user: "u" }],
      ["DELETE", "v1/a", undefined],
    ]);
  });

  it("refuses what needs versions, naming the mount", async () => {
    await using t = await withKv(() => enveloped({}));
    await expect(t.kv.patch("v1/a", {})).rejects.toThrow('the mount "v1/" is no KV version 2');
    await expect(t.kv.delete("v1/a", { versions: [1] })).rejects.toMatchObject({ status: 400 });
    expect(t.calls()).toEqual([]);
  });

  it("tells engines that are no KV, and passes on the refusal of a path outside every mount", async () => {
    await using t = await withKv(() => enveloped({}));
    expect(await t.kv.mountOf("db/creds/r")).toEqual({ path: "db/", type: "database", kvVersion: undefined });
    await expect(t.kv.read("other/x")).rejects.toMatchObject({ status: 403 });
  });
});
