import { describe, expect, it } from "vitest";
import { byteaArray, int8Array } from "./binary-array.ts";
import { groupStatements, type PreparedCommit, prepareCommit, takeGroup } from "./commit-group.ts";
import { statementsFor } from "./statements.ts";

function commitOf(reads: readonly string[], writes: readonly string[], bytes = 1): PreparedCommit {
  const expected = new Map(reads.map((key) => [key, 1n]));
  return prepareCommit({ expected, writes: new Map(writes.map((key) => [key, new Uint8Array(bytes)])) }, "t");
}
const locksOf = (group: readonly PreparedCommit[], exclusive = false) => {
  const [lock] = groupStatements(statementsFor("t"), group, "t", exclusive);
  const [keys, modes] = lock?.values ?? [];
  if (!Buffer.isBuffer(keys) || !Buffer.isBuffer(modes)) throw new Error("locks are two arrays");
  const count = keys.readInt32BE(12);
  return Array.from({ length: count }, (_, i) => ({
    key: keys.readBigInt64BE(24 + i * 12),
    exclusive: modes.readUInt8(24 + i * 5) === 1,
  }));
};

describe("commits that travel together", () => {
  it("share what they read and are apart in what they write", () => {
    const [a, b, c, d] = [
      commitOf(["policy"], ["a"]),
      commitOf(["policy"], ["b"]),
      commitOf(["a"], ["c"]),
      commitOf([], ["d"]),
    ];
    expect(takeGroup([a, b, c, d])).toEqual([a, b, d]);
  });

  it("are not overtaken by those that come later on the same keys", () => {
    const [reader, writer, later] = [commitOf(["p"], ["a"]), commitOf([], ["p"]), commitOf(["p"], ["b"])];
    expect(takeGroup([reader, writer, later])).toEqual([reader]);
    expect(takeGroup([writer, later])).toEqual([writer]);
  });

  it("are at most 64, of at most 2 MiB and 256 keys, but always one", () => {
    expect(takeGroup(Array.from({ length: 80 }, (_, i) => commitOf([], [`${i}`])))).toHaveLength(64);
    const large = Array.from({ length: 4 }, (_, i) => commitOf([], [`${i}`], 1024 * 1024));
    expect(takeGroup(large)).toHaveLength(2);
    const keys = (first: number, count: number) => Array.from({ length: count }, (_, i) => `${first + i}`);
    const wide = [commitOf([], keys(0, 256)), commitOf([], ["x"])];
    expect(takeGroup(wide)).toHaveLength(1);
    expect(takeGroup([commitOf([], keys(0, 900)), commitOf([], ["x"])])).toHaveLength(1);
  });

  it("lock all keys in ascending order after the table's, exclusively what they write", () => {
    const locks = locksOf([commitOf(["p", "a"], ["a"]), commitOf(["p"], ["b"])]);
    expect(locks).toHaveLength(4);
    expect(locks[0]?.exclusive).toBe(false);
    const keys = locks.slice(1).map(({ key }) => key);
    expect(keys).toEqual(keys.toSorted((x, y) => (x < y ? -1 : 1)));
    expect(locks.filter(({ exclusive }) => exclusive)).toHaveLength(2);
  });

  it("lock the table alone when they need too many locks, or were told to", () => {
    const many = commitOf(
      [],
      Array.from({ length: 257 }, (_, i) => `${i}`),
    );
    const one = commitOf(["p"], ["a"]);
    for (const locks of [locksOf([many]), locksOf([one], true)])
      expect(locks).toEqual([{ key: locksOf([one])[0]?.key, exclusive: true }]);
  });
});

describe("binary arrays", () => {
  it("have the bytes of the worked example", () => {
    const head = "00000001000000010000001100000003" + "00000001";
    const array = byteaArray([Buffer.from("hi"), null, Buffer.alloc(0)]);
    expect(array.toString("hex")).toBe(`${head}000000026869ffffffff00000000`);
    const numbers = `00000001000000000000001400000001${"00000001"}00000008ffffffffffffffff`;
    expect(int8Array([-1n]).toString("hex")).toBe(numbers);
  });
});
