import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CofferError } from "#common/errors.ts";
import { EXPRESSION_DEPTH_MAX, parseExpression } from "./expression.ts";
import { EXPRESSION_CHARACTERS_MAX } from "./expression-tokens.ts";

const NAMES: Readonly<Record<string, string>> = {
  mount_point: "secret/",
  mount_type: "kv",
  namespace: "",
  operation: "read",
  path: "secret/data/app/db",
};
const value = (source: string) => parseExpression(source)((selector) => NAMES[selector]);

describe("filter expressions", () => {
  it.each([
    ["mount_type == kv", true],
    ['mount_type == "kv"', true],
    ["mount_type == `kv`", true],
    ["mount_type != kv", false],
    ['namespace == ""', true],
    ['namespace != ""', false],
    ["mount_point == secret/", true],
    ['path matches "secret/data/*"', true],
    ['path matches "secret/*/db"', true],
    ['path matches "data"', false],
    ['path not matches "secret/*"', false],
    ["path contains app", true],
    ["path not contains app", false],
    ['"app" in path', true],
    ['"app" not in path', false],
    ["operation in [read, list]", true],
    ['operation not in ["read"]', false],
    ["operation in [update]", false],
    ["not operation == read", false],
    ["not (operation == list or mount_type == transit)", true],
    ["operation == list and mount_type == transit or path contains app", true],
    ["operation == list and (mount_type == transit or path contains app)", false],
    ["not not operation == read", true],
    ["  operation   ==\tread\n", true],
    ['path == "a\\"b"', false],
  ])("%s is %s", (source, expected) => {
    expect(value(source)).toBe(expected);
  });

  it.each([
    ["", "expected one of mount_point, mount_type, namespace, operation, path at character 1"],
    [
      "mount == kv",
      'expected one of mount_point, mount_type, namespace, operation, path, found "mount" at character 1',
    ],
    ["path", "expected ==, !=, matches, contains or in at character 5"],
    ["path = x", 'unexpected "=" at character 6'],
    ["path ==", "expected a text at character 8"],
    ["path == a b", 'expected "and", "or" or the end, found "b" at character 11'],
    ["(path == a", 'expected ")" at character 11'],
    ['path == "a', "a text does not end at character 9"],
    ["operation in read", 'expected "[" at character 14'],
    ["operation in [read", 'expected "," or "]" at character 19'],
    ["path not == a", 'expected "in", "matches" or "contains" at character 10'],
    ['path matches "^secret/.*"', "no regular expression, at character 14"],
    ['"/request/path" == a', 'found "/request/path" at character 1'],
    ["path == a and", "expected one of"],
  ])("%s is refused: %s", (source, message) => {
    expect(() => parseExpression(source)).toThrow(message);
  });

  it("knows JSON pointers in conditions", () => {
    const lookup = (selector: string) => (selector === "/request/data/name" ? "x" : undefined);
    const of = (source: string) => parseExpression(source, { pointers: true })(lookup);
    expect(of('"/request/data/name" == x')).toBe(true);
    expect(of('"/request/data/name" in [x, y]')).toBe(true);
    expect(of('"/request/none" == x')).toBe(false);
    expect(of('"/request/none" != x')).toBe(true);
    expect(of('"/request/none" not contains x')).toBe(true);
  });

  it("holds its limits at max and max + 1", () => {
    const padded = (length: number) => "path == a".padEnd(length);
    expect(parseExpression(padded(EXPRESSION_CHARACTERS_MAX))).toBeTypeOf("function");
    expect(() => parseExpression(padded(EXPRESSION_CHARACTERS_MAX + 1))).toThrow("longer than 4096 characters");
    const nested = (depth: number) => `${"(".repeat(depth - 1)}path == a${")".repeat(depth - 1)}`;
    expect(parseExpression(nested(EXPRESSION_DEPTH_MAX))).toBeTypeOf("function");
    expect(() => parseExpression(nested(EXPRESSION_DEPTH_MAX + 1))).toThrow("nested deeper than 50 levels");
  });

  it("reads or refuses whatever it is given, and nothing else", () => {
    const piece = fc.constantFrom(
      "path",
      "and",
      "or",
      "not",
      "in",
      "matches",
      "==",
      "(",
      ")",
      "[",
      "]",
      ",",
      '"a"',
      "x",
      '"',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string()), { maxLength: 30 }), (pieces) => {
        try {
          parseExpression(pieces.join(" "))(() => "x");
        } catch (error) {
          expect(error).toBeInstanceOf(CofferError);
        }
      }),
    );
  });
});
