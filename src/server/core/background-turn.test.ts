import { expect, it } from "vitest";
import { millisToTurn } from "./background.ts";

it("lets the only worker look every second", () => {
  expect(millisToTurn(12_345)).toBe(1_000);
});

it("gives each of several workers a second of its own, in turn", () => {
  const wakes = [0, 1, 2].map((index) => 12_345 + millisToTurn(12_345, { index, count: 3 }));
  expect(wakes).toEqual([15_000, 13_000, 14_000]);
  expect(millisToTurn(13_000, { index: 1, count: 3 })).toBe(3_000);
});
