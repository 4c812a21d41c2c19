// Listing by pieces against listing all at once: the same names, and few pieces where folders are large.
import { describe, expect, it } from "vitest";
import { compareKeys } from "../key.ts";
import { listNames, type ReadKeys, scanKeys } from "./walk.ts";

/** A store of these keys that counts the pieces. */
function readerOf(keys: readonly string[]): { read: ReadKeys; pieces: () => number; revisions: Set<number> } {
  const sorted = [...keys].sort(compareKeys);
  let count = 0;
  const revisions = new Set<number>();
  const read: ReadKeys = async (from, to, limit, revision) => {
    count++;
    revisions.add(revision);
    const found = sorted.filter((key) => compareKeys(key, from) >= 0 && (to === undefined || compareKeys(key, to) < 0));
    return { keys: found.slice(0, limit), more: found.length > limit, revision: 7 };
  };
  return { read, pieces: () => count, revisions };
}

const numbered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${prefix}${String(i).padStart(5, "0")}`);

describe("listNames", () => {
  it("jumps over what lies deeper in a large folder", async () => {
    const { read, pieces } = readerOf([...numbered("d/a/", 5_000), "d/b", ...numbered("d/c/", 5_000), "d/z", "e"]);
    expect(await listNames("d/", { limit: 100 }, read)).toEqual(["a/", "b", "c/", "z"]);
    expect(pieces()).toBe(3);
  });

  it("takes larger pieces of a folder that has many names, all of one moment", async () => {
    const keys = numbered("d/", 9_000);
    const { read, pieces, revisions } = readerOf([...keys, "e"]);
    expect(await listNames("d/", { limit: 1e6 }, read)).toEqual(keys.map((key) => key.slice(2)));
    expect(pieces()).toBeLessThan(10);
    expect([...revisions]).toEqual([0, 7]);
  });

  it("asks for no more than a page", async () => {
    const { read, pieces } = readerOf(numbered("", 500));
    expect(await listNames("", { limit: 3, after: "00004" }, read)).toEqual(["00005", "00006", "00007"]);
    expect(pieces()).toBe(1);
    expect(await listNames("", { limit: 0 }, read)).toEqual([]);
    expect(pieces()).toBe(1);
  });
});

describe("scanKeys", () => {
  it("goes on from piece to piece until the limit or the end", async () => {
    const keys = numbered("s/", 5_000);
    const { read } = readerOf(keys);
    expect(await scanKeys({ from: "s/", to: "s0", limit: 4_500 }, read)).toEqual(keys.slice(0, 4_500));
    expect(await scanKeys({ from: "", to: "z", limit: 1e9 }, read)).toEqual(keys);
    expect(await scanKeys({ from: "z", to: "a", limit: 5 }, read)).toEqual([]);
  });
});
