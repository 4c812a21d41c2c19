import { describe, expect, it } from "vitest";
import { applyExclusions, EXCLUDED_FIELDS_MAX, EXCLUSIONS_MAX, parseExclusions } from "./exclusions.ts";

const ENTRY = {
  time: "t",
  type: "request",
  request: { id: "1", mount_type: "kv", data: { a: "x", "b/c": "y", list: [{ d: 1, e: 2 }, 3] } },
};
const apply = (exclusions: unknown) =>
  applyExclusions(parseExclusions(JSON.stringify(exclusions)), ENTRY, (name) => (name === "path" ? "p" : undefined));

describe("exclusions", () => {
  it("leaves out what the pointers name", () => {
    expect(apply([{ fields: ["/request/data/a", "/request/data/b~1c", "/request/data/list/0/d"] }])).toEqual({
      ...ENTRY,
      request: { ...ENTRY.request, data: { list: [{ e: 2 }, 3] } },
    });
    expect(apply([{ fields: ["/request/data/list/1"] }])).toMatchObject({
      request: { data: { list: [{ d: 1, e: 2 }] } },
    });
    expect(apply([{ fields: ["/request/data", "/request/data/a", "/response", "/request/data/list/9"] }])).toEqual({
      ...ENTRY,
      request: { id: "1", mount_type: "kv" },
    });
  });

  it("asks its condition, which sees the whole entry", () => {
    const fields = ["/request/mount_type"];
    expect(apply([{ condition: "path == q", fields }])).toEqual(ENTRY);
    expect(apply([{ condition: '"/request/mount_type" == transit', fields }])).toEqual(ENTRY);
    const both = apply([
      { condition: "path == p", fields },
      { condition: '"/request/mount_type" == kv and "/request/data/list/0" != x', fields: ["/request/data"] },
    ]);
    expect(both).toEqual({ ...ENTRY, request: { id: "1" } });
  });

  it.each([
    ["no JSON", "not valid JSON"],
    ["{}", "exclude must be a list"],
    ['[{"fields":"/a"}]', "exclude[0].fields must be a list"],
    ['[{"fields":[]}]', "exclude[0].fields must hold 1 to 64 fields"],
    ['[{"fields":["a"]}]', '"a" must begin with "/"'],
    ['[{"fields":["/request/id"]}]', '"/request/id" cannot be left out'],
    ['[{"fields":["/time"]}]', "cannot be left out"],
    ['[{"fields":[""]}]', "cannot be left out"],
    ['[{"condition":"x","fields":["/a"]}]', "at character 1"],
  ])("refuses %s", (text, message) => {
    expect(() => parseExclusions(text)).toThrow(message);
  });

  it("holds its limits at max and max + 1", () => {
    const many = (exclusions: number, fields: number) =>
      JSON.stringify(Array.from({ length: exclusions }, () => ({ fields: Array(fields).fill("/a") })));
    expect(parseExclusions(many(EXCLUSIONS_MAX, EXCLUDED_FIELDS_MAX))).toHaveLength(EXCLUSIONS_MAX);
    expect(() => parseExclusions(many(EXCLUSIONS_MAX + 1, 1))).toThrow("more than 32 exclusions");
    expect(() => parseExclusions(many(1, EXCLUDED_FIELDS_MAX + 1))).toThrow("1 to 64 fields");
  });
});
