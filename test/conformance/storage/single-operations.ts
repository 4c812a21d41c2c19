// Single operations on a store, as the tests of PostgreSQL use them in both of its ways of locking.
import { expect } from "vitest";
import type { Storage } from "#server/storage/storage.ts";

/** Writes a key that may be there; it must succeed. */
export async function put(storage: Storage | undefined, key: string, value: string): Promise<void> {
  const writes = new Map([[key, Buffer.from(value)]]);
  expect(await storage?.commit({ expected: new Map(), writes })).toBe("committed");
}

export function commit(
  storage: Storage | undefined,
  expected: ReadonlyMap<string, bigint | undefined>,
  key: string,
  value = "1",
): Promise<string> {
  if (storage === undefined) throw new Error("no storage");
  return storage.commit({ expected, writes: new Map([[key, Buffer.from(value)]]) });
}

export async function textOf(storage: Storage | undefined, key: string): Promise<string | undefined> {
  const [entry] = (await storage?.get([key])) ?? [];
  return entry && Buffer.from(entry.value).toString();
}

/** One more, however often others come first. */
export async function increment(storage: Storage, key: string): Promise<void> {
  for (;;) {
    const [entry] = await storage.get([key]);
    const value = String(Number(Buffer.from(entry?.value ?? []).toString() || "0") + 1);
    if ((await commit(storage, new Map([[key, entry?.version]]), key, value)) === "committed") return;
  }
}
