// Which commits may travel together, and how many writes etcd's limit on operations allows.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type QueuedCommit, requestOf, resultsOf, takeGroup } from "./commit-group.ts";
import { commitRequest, groupsFor } from "./messages.ts";

const commit = (reads: readonly string[], writes: readonly string[]): QueuedCommit => ({
  batch: {
    expected: new Map(reads.map((key) => [key, undefined])),
    writes: new Map(writes.map((key) => [key, Buffer.from("v")])),
  },
  request: commitRequest({ comparisons: [], writes: writes.map((key) => [Buffer.from(key), Buffer.from("v")]) }),
});

describe("a group", () => {
  it("takes commits that share what they read", () => {
    const waiting = [commit(["policy"], ["a"]), commit(["policy"], ["b"])];
    expect(takeGroup(waiting)).toEqual(waiting);
  });

  it.each([
    ["writes what another one writes", commit([], ["a"])],
    ["reads what another one writes", commit(["a"], ["b"])],
    ["writes what another one reads", commit([], ["r"])],
  ])("leaves one for later that %s, and those behind it on its keys", (_name, second) => {
    const [first, free] = [commit(["r"], ["a"]), commit(["z"], ["y"])];
    const behind = commit([...second.batch.writes.keys()], ["c"]);
    expect(takeGroup([first, second, behind, free])).toEqual([first, free]);
  });

  it("always takes the first, and no more than fit", () => {
    const large = {
      ...commit([], ["a"]),
      request: commitRequest({ comparisons: [], writes: [[Buffer.from("a"), Buffer.alloc(1e6)]] }),
    };
    expect(takeGroup([large, commit([], ["b"])])).toEqual([large]);
    const many = Array.from({ length: 40 }, (_, i) => commit([], [`k${i}`]));
    expect(takeGroup(many)).toHaveLength(16);
  });

  it("of one is the commit itself", () => {
    const only = commit([], ["a"]);
    expect(requestOf([only])).toBe(only.request);
    const result = { revision: 1, succeeded: true, ranges: [], inner: [] };
    expect(resultsOf([only], result)).toEqual([result]);
  });
});

describe("groupsFor", () => {
  it("keeps to etcd's rule, whatever is asked for", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 140 }), fc.integer({ min: 1, max: 5_000 }), (comparisons, writes) => {
        const groups = groupsFor(comparisons, writes, 128);
        if (groups === undefined) return;
        const outer = Math.max(comparisons, groups === 0 ? writes : groups);
        expect(outer).toBeLessThanOrEqual(128);
        if (groups > 0) expect(Math.ceil(writes / groups)).toBeLessThanOrEqual(128 - outer);
      }),
    );
  });

  it("finds room for 4,096 writes, and none for one more or for a read set that is full", () => {
    expect(groupsFor(1, 128, 128)).toBe(0);
    expect(groupsFor(1, 4_096, 128)).toBe(64);
    expect(groupsFor(1, 4_097, 128)).toBeUndefined();
    expect(groupsFor(129, 1, 128)).toBeUndefined();
  });
});
