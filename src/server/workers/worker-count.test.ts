import { describe, expect, it } from "vitest";
import { requireStorageKind } from "../storage/registry.ts";
import { workerCount } from "./worker-count.ts";

const MIB = 2 ** 20;
const [lmdb, memory, postgres] = ["lmdb", "memory", "postgres"].map(requireStorageKind);
const machine = (cores: number, mebibytes = Number.POSITIVE_INFINITY) => ({ cores, memoryBytes: mebibytes * MIB });

describe("the number of workers", () => {
  it.each([
    [1, machine(1)],
    [8, machine(8)],
    [2, machine(8, 512)],
    [1, machine(8, 256)],
    [1, machine(8, 64)],
    [4, machine(4, 8_192)],
  ])("is %i by default with lmdb on %o", (count, given) => {
    expect(lmdb && workerCount(undefined, lmdb, given)).toBe(count);
  });

  it("is one by default with any other storage", () => {
    for (const kind of [memory, postgres]) expect(kind && workerCount(undefined, kind, machine(8))).toBe(1);
  });

  it("is what the configuration says, where the storage can be shared", () => {
    expect(lmdb && workerCount(3, lmdb, machine(1, 64))).toBe(3);
    expect(postgres && workerCount(3, postgres, machine(1))).toBe(3);
    expect(memory && workerCount(1, memory, machine(8))).toBe(1);
    const refused = expect.objectContaining({ code: "invalid_request", message: expect.stringContaining("workers") });
    expect(() => memory && workerCount(2, memory, machine(8))).toThrow(refused);
  });
});
