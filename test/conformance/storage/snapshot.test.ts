// What a snapshot of a storage promises: all entries of one instant, however long it is read and whoever writes
// meanwhile. Writers of pairs say before and after each commit what they do, so the instant can be told.
import { describe, expect, it } from "vitest";
import { compareKeys } from "#server/storage/key.ts";
import {
  SNAPSHOT_BATCH_BYTES,
  SNAPSHOT_BATCH_ENTRIES,
  type Storage,
  type StoredEntry,
} from "#server/storage/storage.ts";
import { storageVariants, withStorage } from "./fixture.ts";

const WRITERS = 6;
const ENTRIES = 3_000;
const COMMIT_ENTRIES = 50;

async function write(storage: Storage, writes: ReadonlyMap<string, Uint8Array | null>): Promise<void> {
  expect(await storage.commit({ expected: new Map(), writes })).toBe("committed");
}

const nameOf = (n: number) => `bulk/${String(n).padStart(6, "0")}`;

async function fill(storage: Storage): Promise<void> {
  for (let at = 0; at < ENTRIES; at += COMMIT_ENTRIES) {
    const names = Array.from({ length: COMMIT_ENTRIES }, (_, i) => nameOf(at + i));
    await write(storage, new Map(names.map((name) => [name, Buffer.from(`value of ${name}`)])));
  }
}

async function readAll(storage: Storage, between = async () => {}): Promise<StoredEntry[]> {
  const found: StoredEntry[] = [];
  for await (const batch of storage.snapshot()) {
    found.push(...batch);
    await between();
  }
  return found;
}

const text = (entry: StoredEntry | undefined) => entry && Buffer.from(entry.value).toString();
const byKey = (entries: readonly StoredEntry[]) => new Map(entries.map((entry) => [entry.key, text(entry)]));

/** Writes pairs of one number each, again and again; `acknowledged` and `begun` are what an observer knows. */
class PairWriter {
  acknowledged = 0;
  begun = 0;
  readonly #name: string;
  readonly #storage: Storage;

  constructor(storage: Storage, name: string) {
    this.#storage = storage;
    this.#name = name;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const n = ++this.begun;
      const value = Buffer.from(String(n));
      // The second half of a pair is far behind the first in the order of reading; every third pair brings a new key.
      const writes = new Map([...this.keys.map((key) => [key, value] as const), [`zz/${this.#name}/${n % 3}`, value]]);
      await write(this.#storage, writes);
      this.acknowledged = n;
      // Storage in memory answers without leaving the turn of the event loop, and nobody else would get one.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  get keys(): readonly [string, string] {
    return [`aa/${this.#name}`, `zz/${this.#name}`];
  }
}

describe.each(storageVariants)("a snapshot of storage $type", (kind) => {
  const test = (name: string, run: (storage: Storage) => Promise<void>) =>
    it(name, (context) => withStorage(kind, context, run));

  test("of nothing has nothing", async (storage) => {
    expect(await readAll(storage)).toEqual([]);
  });

  test("has every entry once, in the order of bytes, empty values too", async (storage) => {
    const keys = ["a", "a/b", "a0", "é", "日本", "\uffee", "😀", "\u0001"];
    await write(storage, new Map(keys.map((key) => [key, Buffer.from(key === "a" ? "" : key)])));
    await fill(storage);
    const found = await readAll(storage);
    const expected = [...keys, ...Array.from({ length: ENTRIES }, (_, n) => nameOf(n))].sort(compareKeys);
    expect(found.map(({ key }) => key)).toEqual(expected);
    expect(byKey(found).get("a")).toBe("");
    expect(byKey(found).get("😀")).toBe("😀");
    expect(byKey(found).get(nameOf(7))).toBe(`value of ${nameOf(7)}`);
  });

  test("comes in batches that are bounded, whatever the values' sizes", async (storage) => {
    const large = Math.floor(SNAPSHOT_BATCH_BYTES * 0.6);
    await fill(storage);
    for (let n = 0; n < 8; n++) await write(storage, new Map([[`bulk/000100/${n}`, new Uint8Array(large).fill(n)]]));
    let largeOnes = 0;
    for await (const batch of storage.snapshot()) {
      expect(batch.length).toBeGreaterThan(0);
      expect(batch.length).toBeLessThanOrEqual(SNAPSHOT_BATCH_ENTRIES);
      largeOnes += batch.filter(({ value }) => value.length === large).length;
    }
    expect(largeOnes).toBe(8);
  });

  test("shows nothing of what is written after its first batch", async (storage) => {
    await fill(storage);
    const before = byKey(await readAll(storage));
    let first = true;
    const found = await readAll(storage, async () => {
      if (!first) return;
      first = false;
      const gone = Array.from({ length: COMMIT_ENTRIES }, (_, i) => [nameOf(ENTRIES - 1 - i), null] as const);
      await write(
        storage,
        new Map([...gone, [nameOf(ENTRIES - 100), Buffer.from("new")], ["zzz", Buffer.from("new")]]),
      );
    });
    expect(first).toBe(false);
    expect(byKey(found)).toEqual(before);
    expect(byKey(await readAll(storage)).get("zzz")).toBe("new");
  });

  test("is one instant while writers of pairs go on", async (storage) => {
    await fill(storage);
    const stop = new AbortController();
    const writers = Array.from({ length: WRITERS }, (_, i) => new PairWriter(storage, `w${i}`));
    const work = Promise.all(writers.map((writer) => writer.run(stop.signal)));
    try {
      for (let round = 0; round < 3; round++) {
        const acknowledged = writers.map((writer) => writer.acknowledged);
        let begun: readonly number[] | undefined;
        const found = byKey(
          await readAll(storage, async () => {
            begun ??= writers.map((writer) => writer.begun);
            await new Promise((resolve) => setTimeout(resolve, 5));
          }),
        );
        for (const [i, writer] of writers.entries()) {
          const [one, twin] = writer.keys.map((key) => Number(found.get(key) ?? 0));
          expect(twin).toBe(one);
          expect(one).toBeGreaterThanOrEqual(acknowledged[i] ?? 0);
          expect(one).toBeLessThanOrEqual(begun?.[i] ?? 0);
          if (one !== undefined && one > 0) expect(found.get(`zz/w${i}/${one % 3}`)).toBe(String(one));
        }
      }
      expect(writers.every((writer) => writer.acknowledged > 0)).toBe(true);
    } finally {
      stop.abort();
      await work;
    }
  });

  test("that is left early, or open when the storage closes, does no harm", async (storage) => {
    await fill(storage);
    for await (const batch of storage.snapshot()) {
      expect(batch.length).toBeGreaterThan(0);
      break;
    }
    await write(storage, new Map([["a", Buffer.from("1")]]));
    const open = storage.snapshot();
    expect((await open.next()).done).toBe(false);
    await storage.close();
    await expect(open.next()).rejects.toMatchObject({ code: "unavailable" });
    await expect(storage.snapshot().next()).rejects.toMatchObject({ code: "unavailable" });
  });
});
