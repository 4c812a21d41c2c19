import { describe, expect, it } from "vitest";
import { matchesGlob } from "./glob.ts";

describe("glob", () => {
  it.each([
    ["app", "app", true],
    ["app", "apps", false],
    ["*", "", true],
    ["*", "anything", true],
    ["stage-*", "stage-1", true],
    ["stage-*", "prod", false],
    ["*-db", "x-db", true],
    ["a*b*c", "a-b-b-c", true],
    ["a*b*c", "a-c-b", false],
    ["ab*ba", "aba", false],
    ["a**b", "ab", true],
    [".", "x", false],
  ])("%s on %s: %s", (pattern, text, matches) => {
    expect(matchesGlob(pattern, text)).toBe(matches);
  });
});
