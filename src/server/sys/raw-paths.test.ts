import { gzipSync } from "node:zlib";
import { beforeEach, describe, expect, it } from "vitest";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";

let server: InProcessServer;
beforeEach(async () => {
  server = await startInProcessServer({ parts: { rawStorage: true } });
});
const raw = (operation: "read" | "update" | "delete" | "list", path: string, data = {}, options = {}) =>
  server.call(operation, path === "" ? "sys/raw" : `sys/raw/${path}`, data, options);

describe("sys/raw", () => {
  it("is not there unless the configuration says so", async () => {
    const plain = await startInProcessServer();
    const { status, error } = await plain.call("read", "sys/raw/core/cluster");
    expect([status, error]).toEqual([404, expect.stringContaining("unsupported path")]);
  });

  it("shows what lies behind the barrier and changes it for all other paths", async () => {
    const { data } = await raw("read", "core/cluster");
    const cluster = JSON.parse(String(data["value"]));
    expect(cluster).toMatchObject({ id: expect.any(String), name: expect.any(String) });
    const changed = await raw("update", "core/cluster", { value: JSON.stringify({ ...cluster, name: "renamed" }) });
    expect(changed.status).toBe(204);
    expect((await server.call("read", "sys/seal-status")).body["cluster_name"]).toBe("renamed");
  });

  it("lists one level of keys, from the top without a path", async () => {
    expect((await raw("list", "")).data["keys"]).toEqual(expect.arrayContaining(["core/"]));
    expect((await raw("list", "core")).data["keys"]).toEqual(expect.arrayContaining(["cluster"]));
    expect((await raw("list", "core/")).data).toEqual((await raw("list", "core")).data);
    expect((await raw("list", "nothing")).status).toBe(404);
  });

  it("writes, reads and deletes, as text and in base64", async () => {
    expect((await raw("read", "a/b")).status).toBe(404);
    expect((await raw("update", "a/b", { value: "text" })).status).toBe(204);
    expect((await raw("read", "a/b")).data).toEqual({ value: "text" });
    expect((await raw("read", "a/b", { encoding: "base64" })).data).toEqual({ value: "dGV4dA==" });
    await raw("update", "a/b", { value: "/wA=", encoding: "base64" });
    expect((await raw("read", "a/b", { encoding: "base64" })).data).toEqual({ value: "/wA=" });
    expect((await raw("read", "a/b")).body["warnings"]).toEqual([expect.stringContaining("encoding=base64")]);
    expect((await raw("delete", "a/b")).status).toBe(204);
    expect((await raw("read", "a/b")).status).toBe(404);
  });

  it("keeps a value compressed until told otherwise", async () => {
    const stored = async () => {
      const { data } = await raw("read", "c", { encoding: "base64", compressed: "false" });
      return Buffer.from(String(data["value"]), "base64");
    };
    const made = await raw("update", "c", { value: "first", compression_type: "gzip" });
    expect([made.status, made.body["warnings"]]).toEqual([200, [expect.stringContaining("compressed")]]);
    expect((await stored()).subarray(0, 3)).toEqual(Buffer.from([0x47, 0x1f, 0x8b]));
    expect((await raw("read", "c")).data).toEqual({ value: "first" });
    await raw("update", "c", { value: "second" });
    expect((await stored())[0]).toBe(0x47);
    expect((await raw("read", "c")).data).toEqual({ value: "second" });
    await raw("update", "c", { value: "third", compression_type: "" });
    expect((await stored()).toString()).toBe("third");
  });

  it("says when what is stored cannot be decompressed", async () => {
    const half = Buffer.concat([Buffer.from("G"), gzipSync("a value")]).subarray(0, 20);
    await raw("update", "c", { value: half.toString("base64"), encoding: "base64", compression_type: "" });
    expect((await raw("read", "c")).error).toContain("compressed=false");
    expect((await raw("read", "c", { compressed: "false", encoding: "base64" })).data["value"]).toBe(
      half.toString("base64"),
    );
  });

  it.each([
    "core/keyring",
    "core/keyring-term",
    "core/root-key",
    "core/seal-keys",
    "core/seal-config",
    "core/seal-anything",
  ])("keeps its hands off %s", async (key) => {
    for (const answer of [await raw("read", key), await raw("update", key, { value: "x" }), await raw("delete", key)])
      expect([answer.status, answer.error]).toEqual([400, expect.stringContaining(`cannot access "${key}"`)]);
    expect(server.server.services.barrier.isSealed).toBe(false);
  });

  it.each([
    ["update", "a", { value: "x", encoding: "hex" }, "encoding"],
    ["read", "a", { encoding: "hex" }, "encoding"],
    ["update", "a", { value: "no base64!", encoding: "base64" }, "value"],
    ["update", "a", { value: "x", compression_type: "lzw" }, "compression_type"],
    ["update", "a", {}, "value"],
    ["update", "", { value: "x" }, "path"],
    ["delete", "", {}, "path"],
  ] as const)("refuses to %s %j with %j", async (operation, path, data, field) => {
    const { status, error } = await raw(operation, path, data);
    expect([status, error]).toEqual([400, expect.stringContaining(field)]);
  });

  it("wants sudo, and is in the root namespace alone", async () => {
    const policy = 'path "sys/raw*" { capabilities = ["create", "read", "update", "delete", "list"] }';
    await server.call("update", "sys/policies/acl/raw", { policy });
    const { body } = await server.call("update", "auth/token/create", { policies: ["raw"] });
    const token = JSON.parse(JSON.stringify(body["auth"])).client_token;
    expect((await raw("read", "core/cluster", {}, { token })).status).toBe(403);
    await server.call("update", "sys/namespaces/n");
    expect((await server.call("read", "n/sys/raw/core/cluster")).status).toBe(400);
  });

  it("writes over and deletes a record that cannot be decrypted", async () => {
    await raw("update", "a", { value: "x" });
    const [entry] = await server.storage.get(["a"]);
    const broken = Buffer.from(entry?.value ?? []);
    broken[broken.length - 1] = (broken.at(-1) ?? 0) ^ 1;
    const breakIt = async () =>
      server.storage.commit({ expected: new Map(), writes: new Map([["a", broken as Uint8Array | null]]) });
    await breakIt();
    expect((await raw("read", "a")).error).toContain("cannot decrypt");
    expect((await raw("update", "a", { value: "y" })).status).toBe(204);
    expect((await raw("read", "a")).data).toEqual({ value: "y" });
    await breakIt();
    expect((await raw("delete", "a")).status).toBe(204);
    expect((await raw("read", "a")).status).toBe(404);
  });
});
