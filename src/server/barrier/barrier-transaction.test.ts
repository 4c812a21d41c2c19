import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { number, object, optional, string } from "#common/schema.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { compareKeys, nameBelow } from "../storage/key.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage } from "../storage/storage.ts";
import { Barrier } from "./barrier.ts";
import { recordKind, type Transaction } from "./transaction.ts";

const schema = object({ name: string, count: number, note: optional(string) });
const plainKind = recordKind("thing", schema);
const cachedKind = recordKind("policy", schema, { cached: true });

/** A barrier over memory that counts what goes to storage. */
async function fixture() {
  const storage = openMemoryStorage();
  const calls = { get: 0, commit: 0 };
  const counted: Storage = {
    get: (keys) => {
      calls.get++;
      return storage.get(keys);
    },
    list: (prefix, page) => storage.list(prefix, page),
    scan: (range) => storage.scan(range),
    commit: (batch) => {
      calls.commit++;
      return storage.commit(batch);
    },
    watch: (onChange) => storage.watch(onChange),
    snapshot: () => storage.snapshot(),
    close: () => storage.close(),
  };
  const barrier = new Barrier({ storage: counted, clock: new FakeClock(), log: silentLog });
  const rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  const write = async (fill: (tx: Transaction) => void) => {
    const tx = barrier.begin();
    fill(tx);
    expect(await tx.commit()).toBe("committed");
  };
  await write((tx) => tx.put("warm/up", Buffer.from("")));
  return { barrier, storage, write, calls };
}

const text = (value: Uint8Array | undefined) => value && Buffer.from(value).toString();

describe("reading and writing", () => {
  it("sees its own writes before they are committed, and nobody else does", async () => {
    const { barrier, write } = await fixture();
    await write((tx) => tx.put("a", Buffer.from("old")));
    const tx = barrier.begin();
    expect(tx.dirty).toBe(false);
    tx.put("a", Buffer.from("new"));
    tx.put("b", Buffer.from("b"));
    expect(tx.dirty).toBe(true);
    expect(text(await tx.get("a"))).toBe("new");
    tx.delete("b");
    expect(await tx.get("b")).toBeUndefined();
    expect(text(await barrier.begin().get("a"))).toBe("old");
  });

  it("reads a key once, and what was prefetched not again", async () => {
    const { barrier, calls } = await fixture();
    const tx = barrier.begin();
    const before = calls.get;
    await tx.prefetch(["a", "warm/up"]);
    expect(await tx.get("a")).toBeUndefined();
    expect(text(await tx.get("warm/up"))).toBe("");
    await tx.prefetch(["a"]);
    expect(calls.get - before).toBe(1);
    await tx.get("c");
    await tx.get("c");
    expect(calls.get - before).toBe(2);
  });

  it("commits nothing without writes, and touches no storage for it", async () => {
    const { barrier, calls } = await fixture();
    const tx = barrier.begin();
    await tx.get("warm/up");
    const before = { ...calls };
    expect(await tx.commit()).toBe("committed");
    expect(calls).toEqual(before);
  });

  it.each([
    ["a value that was read", "seen", (tx: Transaction) => tx.get("seen")],
    ["an absence that was read", "absent", (tx: Transaction) => tx.get("absent")],
    ["a record that was read", "seen", (tx: Transaction) => tx.prefetch(["seen"])],
  ])("conflicts when %s has changed", async (_what, key, read) => {
    const { barrier, write } = await fixture();
    await write((tx) => tx.put("seen", Buffer.from("1")));
    const tx = barrier.begin();
    await read(tx);
    await write((other) => other.put(key, Buffer.from("2")));
    tx.put("result", Buffer.from("x"));
    expect(await tx.commit()).toBe("conflict");
    expect(await barrier.begin().get("result")).toBeUndefined();
  });

  it("conflicts when a key was deleted and written again with the same value", async () => {
    const { barrier, write } = await fixture();
    await write((tx) => tx.put("a", Buffer.from("1")));
    const tx = barrier.begin();
    await tx.get("a");
    await write((other) => other.delete("a"));
    await write((other) => other.put("a", Buffer.from("1")));
    tx.put("a", Buffer.from("2"));
    expect(await tx.commit()).toBe("conflict");
  });

  it("does not conflict over keys that it only wrote", async () => {
    const { barrier, write } = await fixture();
    const tx = barrier.begin();
    tx.put("a", Buffer.from("1"));
    await write((other) => other.put("a", Buffer.from("2")));
    expect(await tx.commit()).toBe("committed");
  });

  it("does not mix two versions of a key that is read twice at once", async () => {
    const { barrier } = await fixture();
    const tx = barrier.begin();
    const [one, two] = await Promise.all([tx.get("warm/up"), tx.get("warm/up")]);
    expect(one).toEqual(two);
  });

  it.each(["core/keyring", "core/root-key", "core/seal-config"])("keeps out of the barrier's own %s", async (key) => {
    const { barrier } = await fixture();
    const tx = barrier.begin();
    await expect(tx.get(key)).rejects.toMatchObject({ code: "internal" });
    await expect(tx.prefetch([key])).rejects.toMatchObject({ code: "internal" });
    expect(() => tx.put(key, Buffer.from(""))).toThrow(expect.objectContaining({ code: "internal" }));
    expect(() => tx.delete(key)).toThrow(expect.objectContaining({ code: "internal" }));
  });

  it("takes nothing after its commit", async () => {
    const { barrier } = await fixture();
    const tx = barrier.begin();
    await tx.commit();
    expect(() => tx.put("a", Buffer.from(""))).toThrow("no writes after its commit");
    await expect(tx.commit()).rejects.toThrow("commits once");
  });
});

describe("records", () => {
  it("come back as they were written, also within the transaction", async () => {
    const { barrier } = await fixture();
    const tx = barrier.begin();
    const thing = { name: "n", count: 1, note: undefined };
    tx.write(plainKind, "t", thing);
    thing.count = 2;
    expect(await tx.read(plainKind, "t")).toEqual({ name: "n", count: 1 });
    await tx.commit();
    expect(await barrier.begin().read(plainKind, "t")).toEqual({ name: "n", count: 1 });
    expect(await barrier.begin().read(plainKind, "none")).toBeUndefined();
  });

  it("of a cached kind are decoded once while their version stands, and again when it does not", async () => {
    const { barrier, write } = await fixture();
    await write((tx) => tx.write(cachedKind, "p", { name: "n", count: 1 }));
    const first = await barrier.begin().read(cachedKind, "p");
    expect(await barrier.begin().read(cachedKind, "p")).toBe(first);
    await write((tx) => tx.write(cachedKind, "p", { name: "n", count: 2 }));
    expect(await barrier.begin().read(cachedKind, "p")).toEqual({ name: "n", count: 2 });
    await write((tx) => tx.delete("p"));
    expect(await barrier.begin().read(cachedKind, "p")).toBeUndefined();
  });

  it("of other kinds are never kept", async () => {
    const { barrier, write } = await fixture();
    await write((tx) => tx.write(plainKind, "p", { name: "n", count: 1 }));
    const first = await barrier.begin().read(plainKind, "p");
    expect(await barrier.begin().read(plainKind, "p")).not.toBe(first);
  });

  it("enter the read set even when they come from the cache", async () => {
    const { barrier, write } = await fixture();
    await write((tx) => tx.write(cachedKind, "p", { name: "n", count: 1 }));
    await barrier.begin().read(cachedKind, "p");
    const tx = barrier.begin();
    await tx.read(cachedKind, "p");
    await write((other) => other.delete("p"));
    tx.put("x", Buffer.from(""));
    expect(await tx.commit()).toBe("conflict");
  });

  it("that do not fit their kind are a fault of the server that names path and kind", async () => {
    const { barrier, write } = await fixture();
    await write((tx) => tx.put("p", Buffer.from('{"name":5}')));
    const failure = { code: "internal", message: expect.stringContaining("the thing at path p") };
    await expect(barrier.begin().read(plainKind, "p")).rejects.toMatchObject(failure);
  });
});

describe("listing and scanning with own writes", () => {
  const key = fc
    .array(fc.constantFrom("a", "b", "a-", "é", "😀", "\uffee", "x"), { minLength: 1, maxLength: 3 })
    .map((parts) => parts.join("/"));
  const write = fc.record({ key, put: fc.boolean() });

  it("shows what storage would show after the commit", async () => {
    const checks = fc.asyncProperty(
      fc.array(key, { maxLength: 12 }),
      fc.array(write, { maxLength: 12 }),
      fc.constantFrom("", "a/", "b/", "a/b/"),
      fc.record({ after: fc.option(fc.constantFrom("a", "a/", "a-", "b/"), { nil: undefined }), limit: fc.nat(6) }),
      async (stored, writes, prefix, { after, limit }) => {
        const { barrier, write: commit } = await fixture();
        await commit((tx) => {
          tx.delete("warm/up");
          for (const k of stored) tx.put(`d/${k}`, Buffer.from("1"));
        });
        const tx = barrier.begin();
        const model = new Set(stored);
        for (const { key: k, put } of writes) {
          if (put) tx.put(`d/${k}`, Buffer.from("2"));
          else tx.delete(`d/${k}`);
          if (put) model.add(k);
          else model.delete(k);
        }
        const keys = [...model].sort(compareKeys);
        const names = new Set(keys.filter((k) => k.startsWith(prefix)).map((k) => nameBelow(prefix, k)));
        const expected = [...names].filter((n) => after === undefined || compareKeys(n, after) > 0).slice(0, limit);
        const page = after === undefined ? { limit } : { after, limit };
        expect(await tx.list(`d/${prefix}`, page)).toEqual(expected);
        const range = { from: `d/${prefix}`, to: "d0", limit };
        const inRange = keys.map((k) => `d/${k}`).filter((k) => compareKeys(k, range.from) >= 0);
        expect(await tx.scan(range)).toEqual(inRange.slice(0, limit));
      },
    );
    await fc.assert(checks, { numRuns: 150 });
  });
});
