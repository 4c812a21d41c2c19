import { describe, expect, it } from "vitest";
import { parseJson } from "./json.ts";

describe("texts that are not well-formed Unicode", () => {
  it.each([
    ["a text", '{"a":"\\ud800"}'],
    ["a text's second half", '"\\uDfff\\ud83d"'],
    ["a member's name", '{"a":[{"x\\uDBFF":1}]}'],
    ["a text in a list", '[1.10,["\\uD800x"]]'],
  ])("are refused: %s", (_, text) => {
    expect(() => parseJson(text)).toThrow(
      expect.objectContaining({ code: "invalid_request", message: expect.stringContaining("surrogate") }),
    );
  });

  it.each([
    ["a pair", '{"a":"\\ud83d\\ude00"}', { a: "😀" }],
    ["an escaped backslash", '{"\\\\ud800":"\\\\udfff"}', { "\\ud800": "\\udfff" }],
    ["beside a number that keeps its digits", '["\\ud83d\\ude00",1.5,null]', ["😀", 1.5, null]],
  ])("are not seen where there are none: %s", (_, text, value) => {
    expect(parseJson(text)).toEqual(value);
  });
});
