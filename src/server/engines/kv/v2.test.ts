import { describe, expect, it } from "vitest";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { createHarness, type Harness } from "../../framework/harness.ts";
import { kvType } from "./kv-type.ts";
import { MAX_VERSIONS_LIMIT } from "./v2-records.ts";

const open = () => createHarness(kvType, { options: { version: "2" } });
const NOW = "2026-01-01T00:00:00.000000000Z";

async function openWith(...secrets: JsonObject[]): Promise<Harness> {
  const kv = await open();
  for (const data of secrets) await kv.call("update", "data/app", { data });
  return kv;
}

describe("kv version 2: versions", () => {
  it("numbers versions and reads any of them", async () => {
    const kv = await openWith({ v: "1" }, { v: "2" });
    const metadata = { created_time: NOW, custom_metadata: null, deletion_time: "", destroyed: false };
    expect(await kv.call("read", "data/app")).toEqual({
      data: { data: { v: "2" }, metadata: { ...metadata, version: 2 } },
    });
    expect((await kv.call("read", "data/app", { version: "1" }))?.data).toMatchObject({ data: { v: "1" } });
    expect((await kv.call("read", "data/app", { version: 0 }))?.data).toMatchObject({ data: { v: "2" } });
    expect(await kv.call("read", "data/app", { version: 9 })).toBeUndefined();
    expect(await kv.call("read", "data/none")).toBeUndefined();
  });

  it("answers a deleted version with 404 and its metadata until it is undeleted", async () => {
    const kv = await openWith({ v: "1" });
    await kv.clock.advance(1500);
    expect(await kv.call("delete", "data/app")).toEqual({});
    expect(await kv.call("read", "data/app")).toMatchObject({
      status: 404,
      data: { data: null, metadata: { deletion_time: "2026-01-01T00:00:01.500000000Z", version: 1 } },
    });
    await kv.call("update", "undelete/app", { versions: [1] });
    expect((await kv.call("read", "data/app"))?.data).toMatchObject({
      data: { v: "1" },
      metadata: { deletion_time: "" },
    });
  });

  it("destroys for good", async () => {
    const kv = await openWith({ v: "topsecret" }, { v: "2" });
    await kv.call("update", "destroy/app", { versions: "1" });
    await kv.call("update", "undelete/app", { versions: [1] });
    expect(await kv.call("read", "data/app", { version: 1 })).toMatchObject({
      status: 404,
      data: { data: null, metadata: { destroyed: true } },
    });
    expect([...(await kv.dump()).values()].join()).not.toContain("topsecret");
  });

  it("drops what exceeds max_versions, also when that was lowered", async () => {
    const kv = await openWith({ v: "1" }, { v: "2" }, { v: "3" });
    await kv.call("update", "metadata/app", { max_versions: 2 });
    await kv.call("update", "data/app", { data: { v: "4" } });
    const read = await kv.call("read", "metadata/app");
    expect(read?.data).toMatchObject({ current_version: 4, oldest_version: 3, max_versions: 2 });
    expect(Object.keys(isJsonObject(read?.data?.["versions"]) ? read.data["versions"] : {})).toEqual(["3", "4"]);
    expect([...(await kv.dump()).keys()]).toEqual(["data/app/3", "data/app/4", "key/app"]);
  });

  it("keeps ten versions by default", async () => {
    const kv = await openWith(...Array.from({ length: 11 }, (_, i) => ({ v: i })));
    expect(await kv.call("read", "data/app", { version: 1 })).toBeUndefined();
    expect((await kv.call("read", "data/app", { version: 2 }))?.data).toMatchObject({ data: { v: 1 } });
  });

  it("deletes by itself after delete_version_after, the shorter of the two", async () => {
    const kv = await open();
    await kv.call("update", "config", { delete_version_after: "1h" });
    await kv.call("update", "metadata/app", { delete_version_after: "10m" });
    await kv.call("update", "data/app", { data: { v: "1" } });
    await kv.clock.advance(599_999);
    expect((await kv.call("read", "data/app"))?.status).toBeUndefined();
    await kv.clock.advance(1);
    expect((await kv.call("read", "data/app"))?.status).toBe(404);
  });

  it("removes everything with the metadata", async () => {
    const kv = await openWith({ v: "1" }, { v: "2" });
    await kv.call("delete", "metadata/app");
    expect((await kv.dump()).size).toBe(0);
    await kv.call("update", "data/app", { data: { v: "new" } });
    expect((await kv.call("read", "data/app"))?.data).toMatchObject({ metadata: { version: 1 } });
  });

  it("keeps keys apart whose paths look like versions of another", async () => {
    const kv = await open();
    await kv.call("update", "data/a", { data: { v: "a" } });
    await kv.call("update", "data/a/1", { data: { v: "a/1" } });
    expect((await kv.call("read", "data/a"))?.data).toMatchObject({ data: { v: "a" } });
    expect((await kv.call("read", "data/a/1"))?.data).toMatchObject({ data: { v: "a/1" } });
  });

  it("keeps numbers as doubles", async () => {
    const kv = await open();
    const sent = parseJson('{"data":{"i":9007199254740993,"f":1.10,"l":[123456789012345678901234]}}');
    await kv.call("update", "data/n", isJsonObject(sent) ? sent : {});
    expect((await kv.call("read", "data/n"))?.data).toMatchObject({
      data: { i: 9007199254740992, f: 1.1, l: [Number("123456789012345678901234")] },
    });
  });

  it.each([
    ["update", "data/k", {}, "no data provided"],
    ["update", "data/k", { data: null }, "no data provided"],
    ["update", "delete/k", {}, "no version number provided"],
    ["update", "destroy/k", { versions: ["x"] }, '"x" in versions is not a version number'],
    ["update", "metadata/k", { max_versions: MAX_VERSIONS_LIMIT + 1 }, "max_versions must be from 0 to 10000"],
  ] as const)("refuses %s %s %j", async (operation, path, data, message) => {
    const kv = await open();
    await expect(kv.call(operation, path, data)).rejects.toMatchObject({ code: "invalid_request", message });
  });

  it("hints at the right path when data/ is missing", async () => {
    const kv = await open();
    const reply = await kv.call("read", "app/db");
    expect(reply?.status).toBe(404);
    expect(reply?.warnings?.[0]).toContain("Invalid path for a versioned K/V secrets engine");
    expect((await kv.call("list", ""))?.warnings?.[0]).toContain("vault kv list");
  });
});

describe("kv version 2: check-and-set", () => {
  const write = (kv: Harness, cas?: JsonObject[string]) =>
    kv.call("update", "data/k", { data: { v: "1" }, ...(cas !== undefined && { options: { cas } }) });
  const mismatch = { code: "invalid_request", message: "check-and-set parameter did not match the current version" };

  it("takes 0 for a new key and the current version after it", async () => {
    const kv = await open();
    await expect(write(kv, 3)).rejects.toMatchObject(mismatch);
    await write(kv, 0);
    await expect(write(kv, 0)).rejects.toMatchObject(mismatch);
    expect((await write(kv, "1"))?.data).toMatchObject({ version: 2 });
    await expect(write(kv, "x")).rejects.toMatchObject({ message: "error parsing check-and-set parameter" });
  });

  it.each(["config", "metadata/k"])("is required when %s says so", async (path) => {
    const kv = await open();
    await kv.call("update", path, { cas_required: true });
    const required = { message: "check-and-set parameter required for this call" };
    await expect(write(kv)).rejects.toMatchObject(required);
    await write(kv, 0);
    await expect(kv.call("patch", "data/k", { data: { w: "2" } })).rejects.toMatchObject(required);
    expect((await kv.call("patch", "data/k", { data: { w: "2" }, options: { cas: 1 } }))?.data).toMatchObject({
      version: 2,
    });
  });

  it("warns a key that would lift what the engine requires", async () => {
    const kv = await open();
    await kv.call("update", "config", { cas_required: true });
    const reply = await kv.call("update", "metadata/k", { cas_required: false });
    expect(reply?.warnings).toHaveLength(1);
  });
});

describe("kv version 2: patch", () => {
  it("merges, removes by null and replaces lists", async () => {
    const kv = await openWith({ a: "1", b: { x: "1", y: "2" }, l: [1, 2] });
    await kv.call("patch", "data/app", { data: { a: null, b: { x: null, z: "3" }, l: [9] } });
    expect((await kv.call("read", "data/app"))?.data).toMatchObject({ data: { b: { y: "2", z: "3" }, l: [9] } });
    await kv.call("patch", "data/app", { data: {} });
    expect((await kv.call("read", "data/app"))?.data).toMatchObject({ metadata: { version: 3 } });
  });

  it("needs something to patch", async () => {
    const kv = await openWith({ a: "1" });
    expect(await kv.call("patch", "data/none", { data: {} })).toBeUndefined();
    await kv.call("delete", "data/app");
    expect(await kv.call("patch", "data/app", { data: { a: "2" } })).toMatchObject({
      status: 404,
      data: { version: 1 },
    });
  });
});

describe("kv version 2: metadata and subkeys", () => {
  it("takes a write of metadata only with the version that it knows, where that is wanted", async () => {
    const kv = await open();
    const write = (data: JsonObject) => kv.call("update", "metadata/k", data);
    const version = async () => (await kv.call("read", "metadata/k"))?.data?.["current_metadata_version"];
    await write({ metadata_cas: 0, max_versions: 3 });
    const mismatch = { message: expect.stringContaining("did not match the current version") };
    await expect(write({ metadata_cas: 0, max_versions: 4 })).rejects.toMatchObject(mismatch);
    await kv.call("update", "data/k", { data: { a: 1 } });
    expect(await version()).toBe(1);
    await write({ max_versions: 5 });
    await write({ metadata_cas: 2, metadata_cas_required: true });
    const required = { code: "invalid_request", message: expect.stringContaining("required for this call") };
    await expect(write({ max_versions: 6 })).rejects.toMatchObject(required);
    await expect(kv.call("patch", "metadata/k", { max_versions: 6 })).rejects.toMatchObject(required);
    await kv.call("patch", "metadata/k", { metadata_cas: 3, metadata_cas_required: null });
    expect(await version()).toBe(4);
    await kv.call("update", "config", { metadata_cas_required: true });
    expect((await kv.call("read", "config"))?.data).toMatchObject({ metadata_cas_required: true });
    await expect(write({ max_versions: 6 })).rejects.toMatchObject(required);
    await write({ metadata_cas: 4, max_versions: 6 });
    expect((await kv.call("read", "metadata/k"))?.data).toMatchObject({ max_versions: 6 });
  });

  it("stands before any data and lists by folder", async () => {
    const kv = await open();
    await kv.call("update", "metadata/app/k", {
      custom_metadata: { owner: "a", tier: 1 },
      delete_version_after: "1h30m",
    });
    expect((await kv.call("read", "metadata/app/k"))?.data).toEqual({
      cas_required: false,
      metadata_cas_required: false,
      created_time: NOW,
      current_metadata_version: 1,
      current_version: 0,
      custom_metadata: { owner: "a", tier: "1" },
      delete_version_after: "1h30m0s",
      max_versions: 0,
      oldest_version: 0,
      updated_time: NOW,
      versions: {},
    });
    expect(await kv.call("read", "data/app/k")).toBeUndefined();
    await kv.call("update", "data/app/z/one", { data: {} });
    expect(await kv.call("list", "metadata/app/")).toEqual({ data: { keys: ["k", "z/"] } });
    expect(await kv.call("list", "metadata")).toEqual({ data: { keys: ["app/"] } });
    expect(await kv.call("list", "metadata/nothing")).toBeUndefined();
  });

  it("lists and scans with what is told of each key", async () => {
    const kv = await open();
    for (const path of ["app/a", "app/b", "app/deep/er"]) await kv.call("update", `data/${path}`, { data: {} });
    const b = (await kv.call("read", "metadata/app/b"))?.data;
    const listed = (await kv.call("list", "detailed-metadata/app/"))?.data;
    expect(listed).toEqual({ keys: ["a", "b", "deep/"], key_info: { a: expect.anything(), b } });
    const scanned = (await kv.call("scan", "detailed-metadata/app"))?.data;
    expect(scanned).toMatchObject({ keys: ["a", "b", "deep/er"], key_info: { "deep/er": { current_version: 1 } } });
    expect(await kv.call("list", "detailed-metadata/nothing")).toBeUndefined();
  });

  it("tells nothing of the keys of a list that is very long", async () => {
    const kv = await open();
    const write = (n: number) => kv.call("update", `metadata/many/${n}`, { max_versions: 1 });
    for (let n = 0; n < 1_001; n++) await write(n);
    const listed = (await kv.call("list", "detailed-metadata/many"))?.data;
    expect(Object.keys(listed ?? {})).toEqual(["keys"]);
  });

  it("patches settings and custom metadata", async () => {
    const kv = await open();
    await kv.call("update", "metadata/k", { custom_metadata: { a: "1", b: "2" }, max_versions: 3 });
    await kv.call("patch", "metadata/k", { custom_metadata: { a: null, c: "3" }, max_versions: null });
    expect((await kv.call("read", "metadata/k"))?.data).toMatchObject({
      custom_metadata: { b: "2", c: "3" },
      max_versions: 0,
    });
    expect(await kv.call("patch", "metadata/none", { max_versions: 1 })).toBeUndefined();
  });

  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, "v"]));
  it.each([
    ["keys", many(64), many(65)],
    ["bytes of a key", { ["k".repeat(128)]: "v" }, { ["k".repeat(129)]: "v" }],
    ["bytes of a value", { a: "v".repeat(512) }, { a: "v".repeat(513) }],
    ["least value", { a: "v" }, { a: "" }],
    ["type", { a: true }, { a: { b: "c" } }],
  ])("limits custom metadata: %s", async (_what, good, bad) => {
    const kv = await open();
    expect(await kv.call("update", "metadata/k", { custom_metadata: good })).toEqual({});
    await expect(kv.call("update", "metadata/k", { custom_metadata: bad })).rejects.toMatchObject({
      code: "invalid_request",
    });
  });

  it("shows names without values, to a depth", async () => {
    const kv = await openWith({ a: "secret", b: { c: { d: "secret" } }, e: {} });
    expect((await kv.call("read", "subkeys/app"))?.data).toMatchObject({
      subkeys: { a: null, b: { c: { d: null } }, e: null },
    });
    expect((await kv.call("read", "subkeys/app", { depth: 1 }))?.data).toMatchObject({ subkeys: { a: null, b: null } });
    await kv.call("delete", "data/app");
    expect(await kv.call("read", "subkeys/app")).toMatchObject({ status: 404, data: { subkeys: null } });
  });
});
