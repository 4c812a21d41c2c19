import { describe, expect, it } from "vitest";
import { createApiClient } from "#client/api-client.ts";
import { systemClock } from "#common/clock.ts";
import { type JsonValue, parseJson } from "#common/json.ts";
import { startScriptedApi } from "#test/scripted-api.ts";
import { isSame, namesBelow, planRecord } from "./compare-records.ts";

describe("two records", () => {
  it.each<[JsonValue, JsonValue]>([
    [null, []],
    ["", null],
    [0, false],
    [{}, null],
    [
      ["a", "b"],
      ["b", "a"],
    ],
    [{ a: 1, b: "" }, { a: 1 }],
    [{ a: [] }, {}],
  ])("say the same with %j and %j", (one, other) => {
    expect(isSame({ f: one }, { f: other }, ["f"])).toBe(true);
    expect(isSame({ f: one }, {}, ["f"])).toBe(one === null || isSame({ f: one }, { f: null }, ["f"]));
  });

  it.each<[JsonValue, JsonValue]>([
    ["a", "b"],
    [["a"], ["a", "a"]],
    [1, "1"],
    [{ a: 1 }, { a: 2 }],
    [{ a: "x" }, { b: "x" }],
    [parseJson("123456789012345678901"), parseJson("123456789012345678902")],
  ])("differ with %j and %j", (one, other) => {
    expect(isSame({ f: one }, { f: other }, ["f"])).toBe(false);
  });

  it("are told apart in the fields that are taken over alone, and nothing else is sent", async () => {
    const sent: JsonValue[] = [];
    const write = async (body: JsonValue) => sent.push(body);
    const fields = ["a", "b"];
    expect(planRecord({ wanted: { a: 1, id: 1 }, present: { a: 1, id: 2 }, fields, write })).toEqual({
      action: "unchanged",
    });
    const plan = planRecord({ wanted: { a: 1, b: null, id: 1 }, present: { a: 2 }, fields, write });
    expect(plan.action).toBe("update");
    if (plan.action === "update") await plan.apply();
    expect(sent).toEqual([{ a: 1 }]);
  });
});

describe("a listing", () => {
  const names = (count: number) => Array.from({ length: count }, (_, n) => `n${String(n).padStart(5, "0")}`);
  const collect = async (count: number, hasPages: boolean) => {
    const all = names(count);
    await using api = await startScriptedApi(({ query }) => {
      const after = query["after"] ?? "";
      const page = all.filter((name) => name > after).slice(0, Number(query["limit"]));
      return { status: 200, body: { data: { keys: hasPages ? page : all } } };
    });
    using client = createApiClient({ address: api.address, clock: systemClock });
    const found: string[] = [];
    for await (const name of namesBelow(client, "any")) found.push(name);
    return { isWhole: found.join() === all.join(), calls: api.seen.length };
  };

  it.each([0, 1, 999, 1_000, 1_001, 2_500])("of %i names is whole, with and without pages", async (count) => {
    expect(await collect(count, true)).toEqual({ isWhole: true, calls: Math.floor(count / 1_000) + 1 });
    expect((await collect(count, false)).isWhole).toBe(true);
  });
});
