import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { createHarness } from "../../framework/harness.ts";
import { kvType } from "./kv-type.ts";
import { VERSION_NUMBER_MAX } from "./v2-import.ts";

const open = () => createHarness(kvType, { options: { version: "2" } });
const created_time = "2020-05-01T10:00:00.123456789Z";
const stored = "2020-05-01T10:00:00.123000000Z";

describe("kv version 2: import", () => {
  it("keeps numbers, times and states", async () => {
    const kv = await open();
    const deletion_time = "2021-01-01T00:00:00Z";
    await kv.call("update", "import/app", {
      versions: {
        7: { created_time, destroyed: true, deletion_time },
        8: { created_time, deletion_time, data: { v: "eight" } },
        9: { created_time, data: { v: "nine", n: 1.5 } },
      },
      ...{ created_time, updated_time: created_time, oldest_version: 7, max_versions: 3, cas_required: true },
      ...{ delete_version_after: "1h", custom_metadata: { owner: "a" } },
    });
    expect((await kv.call("read", "metadata/app"))?.data).toEqual({
      ...{ metadata_cas_required: false, current_metadata_version: 1 },
      ...{ cas_required: true, created_time: stored, current_version: 9, custom_metadata: { owner: "a" } },
      ...{ delete_version_after: "1h0m0s", max_versions: 3, oldest_version: 7, updated_time: stored },
      versions: {
        7: { created_time: stored, deletion_time: "2021-01-01T00:00:00.000000000Z", destroyed: true },
        8: { created_time: stored, deletion_time: "2021-01-01T00:00:00.000000000Z", destroyed: false },
        9: { created_time: stored, deletion_time: "", destroyed: false },
      },
    });
    expect((await kv.call("read", "data/app"))?.data).toMatchObject({ data: { v: "nine", n: 1.5 } });
    expect((await kv.call("read", "data/app", { version: 8 }))?.status).toBe(404);
    await kv.call("update", "undelete/app", { versions: [8] });
    expect((await kv.call("read", "data/app", { version: 8 }))?.data).toMatchObject({ data: { v: "eight" } });
    await kv.call("update", "data/app", { data: { v: "ten" }, options: { cas: 9 } });
    expect((await kv.call("read", "metadata/app"))?.data).toMatchObject({ current_version: 10, oldest_version: 8 });
  });

  it("comes in parts, and keeps what is not sent", async () => {
    const kv = await open();
    await kv.call("update", "import/app", { versions: { 1: { created_time, data: { v: "1" } } }, cas: 0 });
    await kv.call("update", "import/app", {
      versions: { 1: { created_time: "2019-01-01T00:00:00Z" }, 2: { created_time, data: { v: "2" } } },
      cas: 1,
    });
    expect((await kv.call("read", "data/app", { version: 1 }))?.data).toMatchObject({
      data: { v: "1" },
      metadata: { created_time: "2019-01-01T00:00:00.000000000Z" },
    });
  });

  it("removes what is older than the oldest version", async () => {
    const kv = await open();
    for (const v of ["1", "2", "3"]) await kv.call("update", "data/app", { data: { v } });
    await kv.call("update", "import/app", { oldest_version: 3 });
    expect([...(await kv.dump()).keys()]).toEqual(["data/app/3", "key/app"]);
  });

  it("removes the data of a version that turns out destroyed", async () => {
    const kv = await open();
    await kv.call("update", "import/app", { versions: { 1: { created_time, data: { v: "topsecret" } } } });
    await kv.call("update", "import/app", { versions: { 1: { created_time, destroyed: true } } });
    expect([...(await kv.dump()).values()].join()).not.toContain("topsecret");
  });

  it("takes the largest number and none above", async () => {
    const kv = await open();
    const send = (number: number) =>
      kv.call("update", "import/app", { versions: { [number]: { created_time, data: {} } } });
    await send(VERSION_NUMBER_MAX);
    await expect(send(VERSION_NUMBER_MAX + 1)).rejects.toMatchObject({ code: "invalid_request" });
  });

  it.each<[JsonObject, string]>([
    [{ cas: 4 }, "check-and-set parameter did not match the current version"],
    [{ versions: { 0: { created_time, data: {} } } }, '"0" in versions is not a version number'],
    [{ versions: { x: {} } }, '"x" in versions is not a version number'],
    [{ versions: { 1: 2 } }, "versions.1 must be an object"],
    [{ versions: { 1: { data: {} } } }, "versions.1.created_time is missing"],
    [{ versions: { 1: { created_time } } }, "versions.1 has neither data nor destroyed: true; send one"],
    [{ versions: { 1: { created_time, destroyed: "yes" } } }, "versions.1.destroyed must be true or false"],
    [{ created_time: "yesterday" }, "created_time must be a time such as 2026-01-31T12:00:00Z"],
    [{ oldest_version: -1 }, `oldest_version must be from 0 to ${VERSION_NUMBER_MAX}`],
    [{ max_versions: 10_001 }, "max_versions must be from 0 to 10000"],
  ])("refuses %j", async (data, message) => {
    const kv = await open();
    await expect(kv.call("update", "import/app", data)).rejects.toMatchObject({ code: "invalid_request", message });
    expect((await kv.dump()).size).toBe(0);
  });
});
