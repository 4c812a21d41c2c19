import { describe, expect, it } from "vitest";
import { selectionOf } from "./selection.ts";

const KINDS = ["kv", "policies", "mounts"];

describe("a selection", () => {
  it("is everything when nothing is named", () => {
    const all = selectionOf([], [], KINDS);
    expect([all.takesKind("kv"), all.takes("policies", "any")]).toEqual([true, true]);
  });

  it("is what is included, less what is excluded", () => {
    const some = selectionOf(["policies", "kv:team/*"], ["kv:team/old/*"], KINDS);
    expect(KINDS.map((kind) => some.takesKind(kind))).toEqual([true, true, false]);
    const taken = (kind: string, ...paths: string[]) => paths.map((path) => some.takes(kind, path));
    expect(taken("kv", "team/a", "team/old/a", "other/a")).toEqual([true, false, false]);
    expect(taken("policies", "any")).toEqual([true]);
  });

  it("leaves out a kind as a whole, and looks into one that is excluded in part", () => {
    const rest = selectionOf([], ["mounts", "kv:a"], KINDS);
    expect(KINDS.map((kind) => rest.takesKind(kind))).toEqual([true, true, false]);
  });

  it("refuses a kind that there is not", () => {
    expect(() => selectionOf(["secrets:*"], [], KINDS)).toThrow(
      'there is no kind "secrets" to import; the kinds are kv',
    );
  });
});
