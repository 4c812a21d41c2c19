import { describe, expect, it } from "vitest";
import { isJsonObject, parseJson } from "#common/json.ts";
import { createHarness } from "../../framework/harness.ts";
import { kvType } from "./kv-type.ts";

const open = () => createHarness(kvType);

describe("kv version 1", () => {
  it("gives back what was written and replaces it whole", async () => {
    const kv = await open();
    await kv.call("update", "app/db", { user: "u", nested: { x: null, y: 1.5 }, tags: ["a"] });
    expect(await kv.call("read", "app/db")).toEqual({
      data: { user: "u", nested: { x: null, y: 1.5 }, tags: ["a"] },
      leaseSeconds: 2_764_800,
    });
    await kv.call("update", "app/db", { user: "v" });
    expect((await kv.call("read", "app/db"))?.data).toEqual({ user: "v" });
  });

  it("keeps every digit of a number", async () => {
    const kv = await open();
    const sent = parseJson('{"big":9007199254740993,"long":-12345678901234567890123,"price":1.10}');
    await kv.call("update", "n", isJsonObject(sent) ? sent : {});
    const read = await kv.call("read", "n");
    expect(JSON.stringify(read?.data)).toBe('{"big":9007199254740993,"long":-12345678901234567890123,"price":1.10}');
  });

  it.each([
    [{ ttl: "1h" }, 3600],
    [{ ttl: 90 }, 90],
    [{ lease: "2m" }, 120],
    [{ ttl: "soon" }, 2_764_800],
    [{ ttl: "" }, 2_764_800],
    [{ ttl: ["1h"] }, 2_764_800],
    [{ ttl: -5 }, 2_764_800],
  ])("takes the lease from %j", async (data, seconds) => {
    const kv = await open();
    await kv.call("update", "t", data);
    expect((await kv.call("read", "t"))?.leaseSeconds).toBe(seconds);
  });

  it("lists a key and a folder of one name apart, with and without the slash", async () => {
    const kv = await open();
    for (const path of ["app/db", "app/sub", "app/sub/deep", "top"]) await kv.call("update", path, { v: "1" });
    const folder = { data: { keys: ["db", "sub", "sub/"] } };
    expect(await kv.call("list", "app")).toEqual(folder);
    expect(await kv.call("list", "app/")).toEqual(folder);
    expect(await kv.call("list", "")).toEqual({ data: { keys: ["app/", "top"] } });
    expect(await kv.call("list", "app", {}, { page: { after: "db", limit: 1 } })).toEqual({ data: { keys: ["sub"] } });
    expect(await kv.call("list", "nothing")).toBeUndefined();
    expect(await kv.call("scan", "")).toEqual({ data: { keys: ["app/db", "app/sub", "app/sub/deep", "top"] } });
    const rest = { page: { after: "app/sub", limit: 1 } };
    expect(await kv.call("scan", "", {}, rest)).toEqual({ data: { keys: ["app/sub/deep"] } });
  });

  it("deletes, twice without complaint", async () => {
    const kv = await open();
    await kv.call("update", "a", { v: "1" });
    expect(await kv.call("delete", "a")).toEqual({});
    expect(await kv.call("delete", "a")).toEqual({});
    expect(await kv.call("read", "a")).toBeUndefined();
  });

  it("refuses a write without data and a version that is none", async () => {
    const kv = await open();
    await expect(kv.call("update", "a", {})).rejects.toMatchObject({
      code: "invalid_request",
      message: "missing data fields",
    });
    await expect(createHarness(kvType, { options: { version: "3" } })).rejects.toMatchObject({
      code: "invalid_request",
    });
  });
});
