import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { applyJsonPatch, OPERATIONS_MAX } from "./json-patch.ts";

const container: JsonObject = {
  name: "agent",
  env: [{ name: "A" }, { name: "B" }],
  resources: { limits: { cpu: "1" } },
};

describe("a JSON Patch on a container", () => {
  it.each<[string, JsonObject[], JsonObject]>([
    ["adds a member", [{ op: "add", path: "/tty", value: true }], { tty: true }],
    [
      "adds into a list",
      [{ op: "add", path: "/env/1", value: { name: "X" } }],
      { env: [{ name: "A" }, { name: "X" }, { name: "B" }] },
    ],
    [
      "adds to the end of a list",
      [{ op: "add", path: "/env/-", value: 1 }],
      { env: [{ name: "A" }, { name: "B" }, 1] },
    ],
    [
      "replaces deep down",
      [{ op: "replace", path: "/resources/limits/cpu", value: "2" }],
      { resources: { limits: { cpu: "2" } } },
    ],
    [
      "removes",
      [
        { op: "remove", path: "/env/0" },
        { op: "remove", path: "/resources/limits" },
      ],
      { env: [{ name: "B" }], resources: {} },
    ],
    [
      "copies and moves",
      [
        { op: "copy", from: "/env/0", path: "/first" },
        { op: "move", from: "/resources/limits", path: "/limits" },
      ],
      { first: { name: "A" }, limits: { cpu: "1" }, resources: {} },
    ],
    ["tests", [{ op: "test", path: "/resources", value: { limits: { cpu: "1" } } }], {}],
    ["unescapes pointers", [{ op: "add", path: "/a~1b~0c", value: 1 }], { "a/b~c": 1 }],
  ])("%s", (_name, operations, changed) => {
    const before = JSON.stringify(container);
    expect(applyJsonPatch(container, { title: "patch", operations })).toEqual({ ...container, ...changed });
    expect(JSON.stringify(container)).toBe(before);
  });

  it.each<[string, JsonObject[], string]>([
    [
      "a member that is not there",
      [{ op: "replace", path: "/absent", value: 1 }],
      'operation 0: there is no "absent" at its place',
    ],
    ["an index beyond the end", [{ op: "add", path: "/env/3", value: 1 }], 'operation 0: there is no "3" at its place'],
    ["a pointer without slash", [{ op: "remove", path: "env" }], 'operation 0: "env" must begin with "/"'],
    [
      "a test that fails",
      [
        { op: "add", path: "/x", value: 1 },
        { op: "test", path: "/x", value: 2 },
      ],
      "operation 1: /x is not the value of the test",
    ],
    [
      "an unknown operation",
      [{ op: "merge", path: "/x" }],
      "operation 0: op must be one of add, remove, replace, move, copy, test",
    ],
    ["a source that is missing", [{ op: "move", path: "/x" }], 'operation 0: "" must begin with "/"'],
    ["another name", [{ op: "replace", path: "/name", value: "other" }], "must leave an object with the same name"],
    ["below a text", [{ op: "add", path: "/name/x", value: 1 }], 'operation 0: there is no "x" at its place'],
  ])("refuses %s", (_name, operations, message) => {
    expect(() => applyJsonPatch(container, { title: "patch", operations })).toThrow(`patch: ${message}`);
  });

  it("takes no more operations than the limit", () => {
    const many = (count: number) => ({
      title: "patch",
      operations: Array.from({ length: count }, () => ({ op: "add", path: "/tty", value: true })),
    });
    expect(applyJsonPatch(container, many(OPERATIONS_MAX))["tty"]).toBe(true);
    expect(() => applyJsonPatch(container, many(OPERATIONS_MAX + 1))).toThrow("patch: has more than 100 operations");
  });
});
