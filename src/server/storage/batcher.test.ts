import { describe, expect, it } from "vitest";
import { Batcher } from "./batcher.ts";

interface Item {
  readonly n: number;
}
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function recording(lanes: number, most: number) {
  const batches: number[][] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const batcher = new Batcher<Item, number>({
    lanes,
    take: (waiting) => waiting.slice(0, most),
    run: async (batch) => {
      batches.push(batch.map(({ n }) => n));
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      await gate.promise;
      return batch.map(({ n }) => n * 10);
    },
  });
  return { batcher, batches, gates };
}

describe("a batcher", () => {
  it("sends together what arrives together, and in order what waits", async () => {
    const { batcher, batches, gates } = recording(1, 3);
    const results = [1, 2, 3, 4].map((n) => batcher.add({ n }));
    await turn();
    results.push(batcher.add({ n: 5 }));
    expect(batches).toEqual([[1, 2, 3]]);
    gates[0]?.resolve();
    await turn();
    await turn();
    expect(batches).toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
    gates[1]?.resolve();
    expect(await Promise.all(results)).toEqual([10, 20, 30, 40, 50]);
  });

  it("has as many batches on their way as it has lanes", async () => {
    const { batcher, batches, gates } = recording(2, 1);
    const results = [1, 2, 3].map((n) => batcher.add({ n }));
    await turn();
    expect(batches).toEqual([[1], [2]]);
    for (let i = 0; i < 3; i++) {
      gates[i]?.resolve();
      await turn();
      await turn();
    }
    expect(await Promise.all(results)).toEqual([10, 20, 30]);
  });

  it("fails all of a batch that fails and goes on with the next", async () => {
    const { batcher, gates } = recording(1, 2);
    const results = [1, 2, 3].map((n) => batcher.add({ n }));
    const settled = Promise.allSettled(results);
    await turn();
    gates[0]?.reject(new Error("broken"));
    await turn();
    await turn();
    gates[1]?.resolve();
    expect((await settled).map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled"]);
  });
});
