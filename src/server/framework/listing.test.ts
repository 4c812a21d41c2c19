import { describe, expect, it } from "vitest";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Page } from "../storage/storage.ts";
import { scanFolder } from "./listing.ts";

/** Names that storage has given, so that a test sees what a page costs. */
async function counted(keys: readonly string[]) {
  const storage = openMemoryStorage();
  const writes = new Map(keys.map((key) => [`f/${key}`, Buffer.from("x")]));
  await storage.commit({ expected: new Map(), writes });
  const count = { names: 0, calls: 0 };
  const list = async (prefix: string, page: Page) => {
    const names = await storage.list(prefix, page);
    count.names += names.length;
    count.calls++;
    return names;
  };
  return { count, scan: (page: Page) => scanFolder({ list }, "f/", page) };
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => String(n).padStart(6, "0"));

describe("a scan of everything below a folder", () => {
  const keys = ["a", "a-b", "a/b/c", "a/b/d", "a/z", "a0", "z", "é/x"];

  it("is in the order of keys", async () => {
    const { scan } = await counted(keys);
    expect(await scan({ limit: 100 })).toEqual(keys);
  });

  it.each([1, 2, 3])("gives the same in pages of %i", async (limit) => {
    const { scan } = await counted(keys);
    const found: string[] = [];
    for (;;) {
      const after = found.at(-1);
      const page = await scan({ limit, ...(after !== undefined && { after }) });
      found.push(...page);
      if (page.length < limit) break;
    }
    expect(found).toEqual(keys);
  });

  it.each(["a/", "a/b", "a/b/", "a/nothing/there", "zz"])("begins after %j though nothing is there", async (after) => {
    const { scan } = await counted(keys);
    const expected = keys.filter((key) => Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0);
    expect(await scan({ limit: 100, after })).toEqual(expected);
  });

  it("reads about a page of a folder that is very long, wherever it begins", async () => {
    const { count, scan } = await counted([...numbers(20_000).map((n) => `deep/${n}`), "last"]);
    expect(await scan({ limit: 10 })).toHaveLength(10);
    expect(count.names).toBeLessThan(30);
    count.names = 0;
    expect((await scan({ limit: 10, after: "deep/015000" }))[0]).toBe("deep/015001");
    expect(count.names).toBeLessThan(30);
  });

  it("does not visit the folders before the page", async () => {
    const { count, scan } = await counted(numbers(5_000).map((n) => `${n}/x`));
    expect(await scan({ limit: 3, after: "004000/x" })).toEqual(["004001/x", "004002/x", "004003/x"]);
    expect(count.calls).toBeLessThan(10);
  });
});
