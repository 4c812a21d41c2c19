import { describe, expect, it } from "vitest";
import type { JsonValue } from "#common/json.ts";
import { convertFields, field, ITEMS_MAX } from "./fields.ts";

const fields = {
  label: field.text("", { bytesMax: 4 }),
  lower: field.lowerText("", { bytesMax: 4 }),
  names: field.list("", { bytesMax: 4, itemsMax: 2 }),
  pairs: field.pairs("", { bytesMax: 4, itemsMax: 2 }),
  many: field.list(""),
  manyPairs: field.pairs(""),
};
const list = (length: number) => Array.from({ length }, (_, i) => String(i));
const record = (length: number) => Object.fromEntries(list(length).map((name) => [name, ""]));

describe("a field's limits", () => {
  const taken: readonly (readonly [keyof typeof fields, JsonValue])[] = [
    ["label", "1234"],
    ["label", "éé"],
    ["lower", "ABCD"],
    ["names", ["1234", "1234"]],
    ["names", "a,b"],
    ["pairs", { abcd: "1234", b: "" }],
    ["pairs", "a=1,b=2"],
    ["many", list(ITEMS_MAX)],
    ["manyPairs", record(ITEMS_MAX)],
  ];
  it.each(taken)("take %s of the greatest size (%#)", (name, value) => {
    expect(convertFields(fields, { [name]: value })[name]).toBeDefined();
  });

  const refused: readonly (readonly [keyof typeof fields, JsonValue, string])[] = [
    ["label", "12345", "a text longer than 4 bytes"],
    ["label", "ééé", "a text longer than 4 bytes"],
    ["lower", "ABCDE", "a text longer than 4 bytes"],
    ["names", ["1", "12345"], "a text longer than 4 bytes"],
    ["names", "a,b,c", "more than 2 items"],
    ["pairs", { abcde: "1" }, "a text longer than 4 bytes"],
    ["pairs", { a: "12345" }, "a text longer than 4 bytes"],
    ["pairs", "a=1,b=2,c=3", "more than 2 items"],
    ["many", list(ITEMS_MAX + 1), `more than ${ITEMS_MAX} items`],
    ["manyPairs", record(ITEMS_MAX + 1), `more than ${ITEMS_MAX} items`],
  ];
  it.each(refused)("refuse %s beyond it and say so (%#)", (name, value, reason) => {
    const error = `error converting input for field "${name}": ${reason}`;
    expect(() => convertFields(fields, { [name]: value })).toThrow(error);
  });
});
