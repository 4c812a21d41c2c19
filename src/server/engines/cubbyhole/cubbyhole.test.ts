import { describe, expect, it } from "vitest";
import { createHarness } from "../../framework/harness.ts";
import { cubbyholeType } from "./cubbyhole.ts";

const first = { caller: { cubbyholeId: "first" } };
const second = { caller: { cubbyholeId: "second" } };

describe("cubbyhole", () => {
  it("keeps what a token wrote from every other token", async () => {
    const cubbyhole = await createHarness(cubbyholeType);
    await cubbyhole.call("update", "one", { v: "1", n: { x: [1, 2] } }, first);
    await cubbyhole.call("update", "dir/two", { v: "2" }, first);
    expect(await cubbyhole.call("read", "one", {}, first)).toEqual({ data: { v: "1", n: { x: [1, 2] } } });
    expect(await cubbyhole.call("list", "", {}, first)).toEqual({ data: { keys: ["dir/", "one"] } });
    expect(await cubbyhole.call("list", "dir", {}, first)).toEqual({ data: { keys: ["two"] } });
    expect(await cubbyhole.call("read", "one", {}, second)).toBeUndefined();
    expect(await cubbyhole.call("list", "", {}, second)).toBeUndefined();
  });

  it("deletes and refuses a write without data", async () => {
    const cubbyhole = await createHarness(cubbyholeType);
    await cubbyhole.call("update", "one", { v: "1" }, first);
    expect(await cubbyhole.call("delete", "one", {}, first)).toEqual({});
    expect(await cubbyhole.call("read", "one", {}, first)).toBeUndefined();
    await expect(cubbyhole.call("update", "one", {}, first)).rejects.toMatchObject({ message: "missing data fields" });
  });

  it("has no place for a caller without one", async () => {
    const cubbyhole = await createHarness(cubbyholeType);
    const nobody = { caller: { cubbyholeId: "" } };
    await expect(cubbyhole.call("read", "one", {}, nobody)).rejects.toMatchObject({ code: "invalid_request" });
  });
});
