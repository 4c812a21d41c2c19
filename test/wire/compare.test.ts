import { describe, expect, it } from "vitest";
import type { JsonValue } from "#common/json.ts";
import { compare, type Differences } from "./compare.ts";

function differences(want: JsonValue, got: JsonValue): Differences {
  const found: Differences = { hard: [], soft: [] };
  compare(want, got, "body", found);
  return found;
}

describe("comparing an answer with a recording", () => {
  it.each([
    ["<any>", null],
    ["<nonempty>", "x"],
    ["<uuid>", "5c0e0e9e-0000-4000-8000-000000000003"],
    ["<time>", "2026-01-01T00:00:00.000000000Z"],
    ["<ciphertext>", "vault:v1:AAAA"],
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ errors: ["1 error occurred:\n\t* Permission denied\n\n"] }, { errors: ["permission denied"] }],
  ])("%j is met by %j", (want, got) => {
    expect(differences(want, got)).toEqual({ hard: [], soft: [] });
  });

  it.each([
    ["<nonempty>", ""],
    ["<number>", "1"],
    ["<object>", []],
    ["<uuid>", "nosuch"],
    [{ a: 1 }, { b: 1 }],
    [{ a: null }, {}],
    [[1, 2], [1]],
    [1, "1"],
    [{ errors: ["denied"] }, { errors: [] }],
  ])("%j is not met by %j", (want, got) => {
    expect(differences(want, got).hard).toHaveLength(1);
  });

  it.each([
    [{ errors: ["a"] }, { errors: ["b"] }],
    [{ errors: ["a"] }, { errors: ["a", "b"] }],
    [{ warnings: ["a"] }, { warnings: null }],
  ])("%j and %j differ in wording only", (want, got) => {
    expect(differences(want, got)).toMatchObject({ hard: [], soft: [expect.stringContaining("want")] });
  });
});
