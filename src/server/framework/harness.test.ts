import { expect, it } from "vitest";
import { createMaker } from "#test/kit/maker-engine.ts";
import { createHarness } from "./harness.ts";

it("keeps what a call that failed made outside, until it is undone", async () => {
  const maker = createMaker(60);
  const { call, intents, undo } = await createHarness(maker.type);
  await call("update", "make/kept", {});
  expect(intents).toEqual([]);
  await expect(call("update", "make/lost", { fail: true })).rejects.toMatchObject({ code: "invalid_request" });
  expect(intents).toMatchObject([{ kind: "thing", data: { name: "lost-2" } }]);
  maker.failing = true;
  await expect(undo()).rejects.toMatchObject({ code: "upstream_failed" });
  expect(intents).toHaveLength(1);
  maker.failing = false;
  await undo();
  expect(intents).toEqual([]);
  expect([...maker.outside]).toEqual(["kept-1"]);
});
