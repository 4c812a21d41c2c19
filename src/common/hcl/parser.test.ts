import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CofferError } from "../errors.ts";
import { HCL_DEPTH_MAX, HCL_KEYS_MAX, HCL_TEXT_LENGTH_MAX, parseHcl } from "./parser.ts";
import { blocksOf, toJson } from "./syntax-tree.ts";

const json = (text: string) => toJson(parseHcl(text));

describe("parseHcl", () => {
  it.each([
    ["an empty text", "", {}],
    ["comments of all kinds", "# one\n// two\n/* three\n */ a = 1 # four", { a: 1 }],
    [
      "values",
      'a = "x"\nb = -3.5\nc = true\nd = 0x1f\ne = [1, "two", [3], { f = 4 },]',
      { a: "x", b: -3.5, c: true, d: 31, e: [1, "two", [3], { f: 4 }] },
    ],
    ["quoted keys and no commas", '"a" = { "b" = [] "c" = [1] }', { a: { b: [], c: [1] } }],
    ["commas between members", "a = { b = 1, c = 2, }", { a: { b: 1, c: 2 } }],
    ["labels nest", 'path "x" "y" { a = 1 }', { path: { x: { y: { a: 1 } } } }],
    ["repeated blocks are lists", "a { n = 1 }\na { n = 2 }", { a: [{ n: 1 }, { n: 2 }] }],
    ["escapes", '"k" = "a\\"b\\\\\\n\\t\\u00e9\\x41\\101"', { k: 'a"b\\\n\té' + "AA" }],
    [
      "templates stay",
      'p = "x/{{identity.entity.name}}" q = "$' + '{a("b")}"',
      { p: "x/{{identity.entity.name}}", q: `$${'{a("b")}'}` },
    ],
    ["a heredoc", "a = <<EOT\n  one\ntwo\nEOT\nb = 1", { a: "  one\ntwo\n", b: 1 }],
    ["an indented heredoc", "a = <<-EOT\n    one\n      two\n    EOT\n", { a: "one\n  two\n" }],
    ["an indented heredoc with a line to the left", "a = <<-EOT\n    one\n two\n    EOT\n", { a: "    one\n two\n" }],
    ["names with dots and dashes", "a.b-c_1 = 2", { "a.b-c_1": 2 }],
    ["JSON", '{"path":{"x":{"n":[1,null,true,"\\u00e9"]}}}', { path: { x: { n: [1, null, true, "é"] } } }],
  ])("reads %s", (_name, text, wanted) => {
    expect(json(text)).toEqual(wanted);
  });

  it.each([
    ['path "x" { capabilities = ["read"]', "At 1:36: object expected closing RBRACE got: EOF"],
    ["hello", "At 1:7: key 'hello' expected start of object ('{') or assignment ('=')"],
    ["a = ", "At 1:5: unknown token: EOF"],
    ["a : 1", 'At 1:3: illegal character ":"'],
    ["a = 1\n b = @", 'At 2:6: illegal character "@"'],
    ['a = "x\n"', "At 1:5: literal not terminated"],
    ["a = [1 2]", "At 1:8: error parsing list, expected comma or list end, got: NUMBER"],
    ["a b = 1", "At 1:5: nested object expected: LBRACE got: ASSIGN"],
    ["}", "At 1:1: unexpected }"],
    ["= 1", "At 1:1: expected: IDENT | STRING got: ASSIGN"],
    ["a = <<EOT\nx", "At 1:5: heredoc not terminated"],
    ["/* a", "At 1:1: comment not terminated"],
    ['é = "x" ß = @', "At 1:13:"],
    ['{"a": 1,\n "b": }', "At 2:7: unexpected } in JSON"],
    ['{"a": 1', "At 1:8: the JSON text ends too early"],
    ['{"a": 1} x', "At 1:10: unexpected x in JSON"],
  ])("refuses %j", (text, message) => {
    expect(() => parseHcl(text)).toThrow(message);
  });

  it("has limits on depth and length", () => {
    const nested = (depth: number) => `a = ${"[".repeat(depth)}${"]".repeat(depth)}`;
    expect(() => parseHcl(nested(HCL_DEPTH_MAX))).not.toThrow();
    expect(() => parseHcl(nested(HCL_DEPTH_MAX + 1))).toThrow("nested deeper than 64 levels");
    expect(() => parseHcl(`{"a":${"[".repeat(HCL_DEPTH_MAX + 1)}`)).toThrow("nested deeper than 64 levels");
    expect(() => parseHcl(`${"a ".repeat(HCL_KEYS_MAX)} {}`)).not.toThrow();
    expect(() => parseHcl(`${"a ".repeat(HCL_KEYS_MAX + 1)} {}`)).toThrow("more than 16 labels");
    expect(() => parseHcl("#".repeat(HCL_TEXT_LENGTH_MAX))).not.toThrow();
    expect(() => parseHcl("#".repeat(HCL_TEXT_LENGTH_MAX + 1))).toThrow(/longer than/);
  });

  it("stays linear on long hostile texts", () => {
    for (const piece of ["a{", "<<A\n", '"', "[", "/*", '"${', "a ", "1", "{{", '{"a":', "a=[1,"]) {
      const text = piece.repeat(HCL_TEXT_LENGTH_MAX / piece.length - 1);
      expect(() => parseHcl(text)).toThrow(CofferError);
    }
    expect(toJson(parseHcl("a{}".repeat(300_000)))).toMatchObject({ a: { length: 300_000 } });
    expect(parseHcl(`a = "${"x".repeat(1_000_000)}"`).items).toHaveLength(1);
    expect(parseHcl(`{"a":"${"x\\n".repeat(300_000)}"}`).items).toHaveLength(1);
  });

  it("never fails in any other way than by its own error", () => {
    const pieces = fc.constantFrom(
      "a",
      '"',
      "{",
      "}",
      "[",
      "]",
      "=",
      ",",
      "\n",
      " ",
      "<<E\n",
      "\nE\n",
      "\\",
      "${",
      "1",
      "-",
      "#",
      "/*",
      "*/",
      "é",
      "😀",
      ":",
      "true",
      "\0",
    );
    const texts = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(pieces, { maxLength: 60 }).map((all) => all.join("")),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          toJson(parseHcl(text));
        } catch (error) {
          expect(error).toBeInstanceOf(CofferError);
          expect(String(error)).toMatch(/At \d+:\d+: /);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("reads back what JSON says", () => {
    const values = fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.array(fc.string())));
    fc.assert(
      fc.property(values, (value) => {
        const text = JSON.stringify(value);
        expect(toJson(parseHcl(text))).toEqual(JSON.parse(text));
      }),
    );
  });
});

describe("blocksOf", () => {
  const labels = (text: string, count: number) =>
    blocksOf(parseHcl(text), "path", count).map((block) => block.labels.map((label) => label.text));

  it.each([
    ["labels beside the name", 'path "a" {}\nother {}\npath "b" {}', 1, [["a"], ["b"]]],
    ["labels as members", 'path = { "a" = {} "b" = {} }', 1, [["a"], ["b"]]],
    ["JSON lists", '{"path":[{"a":{}},{"b":{},"c":[{},{}]}]}', 1, [["a"], ["b"], ["c"], ["c"]]],
    [
      "two labels in any form",
      'path "a" "b" {}\npath "c" { d {} }\npath { "e" "f" {} }',
      2,
      [
        ["a", "b"],
        ["c", "d"],
        ["e", "f"],
      ],
    ],
    ["no label", "path { a = 1 }", 0, [[]]],
  ])("takes %s", (_name, text, count, wanted) => {
    expect(labels(text, count)).toEqual(wanted);
  });

  it.each([
    ['path "a" "b" {}', 'At 1:1: too many labels; write path "…" { … }'],
    ["path { a = 1 }", 'At 1:1: a label is missing; write path "…" { … }'],
    ["path = 3", "At 1:8: path must be a block"],
  ])("refuses %j", (text, message) => {
    expect(() => labels(text, 1)).toThrow(message);
  });
});
