// Tables and words as Vault's CLI prints them.
import { expect, it } from "vitest";
import { parseJson } from "#common/json.ts";
import { cell, duration, table, title } from "./table.ts";

it("aligns columns and leaves no blanks at the end", () => {
  expect(
    table(
      ["Key", "Value"],
      [
        ["longer_key", "v"],
        ["k", ""],
      ],
    ),
  ).toBe("Key           Value\n---           -----\nlonger_key    v\nk\n");
});

it("shows values as Go prints them, numbers with every digit", () => {
  expect(cell(parseJson('{"b":[1,"x"],"a":9007199254740993,"n":null}'))).toBe(
    "map[a:9007199254740993 b:[1 x] n:<nil>]",
  );
  expect(cell(true)).toBe("true");
});

it.each([
  [0, "0s"],
  [20, "20s"],
  [2_764_800, "768h"],
  [5_400, "1h30m"],
  [3_661, "1h1m1s"],
])("shows %i seconds as %s", (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});

it("centres titles over their table, and shows them bare over a narrow one", () => {
  expect(title("Metadata", { created_time: "", custom_metadata: "" })).toBe("======= Metadata =======\n");
  expect(title("A long title", { a: 1 })).toBe("A long title\n");
});
