import { expect, it } from "vitest";
import { dataPrefix, formatKey, formatRecord, gateKey, pastPrefix } from "./format.ts";

it("the keys of a store in etcd are those of the worked example: path coffer/", () => {
  expect(formatRecord().toString()).toBe('{"format":"coffer","version":1}');
  expect([formatKey("coffer/"), gateKey("coffer/")].map(String)).toEqual(["coffer/format", "coffer/gate"]);
  expect(dataPrefix("coffer/")).toBe("coffer/kv/");
  expect(pastPrefix(dataPrefix("coffer/")).toString()).toBe("coffer/kv0");
});
