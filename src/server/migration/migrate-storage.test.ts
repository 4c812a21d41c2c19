import { beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { readSeal } from "../core/seal-store.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { decodeMigration, encodeMigration, MIGRATION_KEY, readMigration } from "../storage/migration-record.ts";
import type { StorageCapacity } from "../storage/registry.ts";
import { RESTORE_KEY } from "../storage/restore-record.ts";
import { KEY_BYTES_MAX, type Storage } from "../storage/storage.ts";
import { type MigrationOptions, migrateStorage } from "./migrate-storage.ts";
import { StoreDigest } from "./store-digest.ts";
import { entriesOf } from "./walk-entries.ts";

const KEYS = ["core/cluster", "core/keyring", "core/seal-config", "core/seal-keys", "logical/é/a", "logical/\u{1f511}"];
const clock = new FakeClock();
let source: Storage;
let target: Storage;

beforeEach(async () => {
  [source, target] = [openMemoryStorage(), openMemoryStorage()];
  await fill(source, KEYS);
});

async function fill(storage: Storage, keys: readonly string[], value = "value"): Promise<void> {
  for (let i = 0; i < keys.length; i += 100) {
    const part = keys.slice(i, i + 100).map((key) => [key, Buffer.from(`${value} of ${key}`)] as const);
    await storage.commit({ expected: new Map(), writes: new Map(part) });
  }
}

function migrate(options: Partial<MigrationOptions> & { capacity?: StorageCapacity } = {}) {
  return migrateStorage({
    source: { storage: source, type: "memory" },
    target: { storage: target, type: "etcd", capacity: options.capacity ?? {} },
    assertUnused: async () => {},
    ...{ isOnline: false, isDryRun: false, clock, progress: { step: () => {} }, signal: new AbortController().signal },
    ...options,
  });
}

async function contentOf(storage: Storage): Promise<ReadonlyMap<string, string>> {
  const all = new Map<string, string>();
  for await (const { key, value } of entriesOf(storage, MIGRATION_KEY)) all.set(key, Buffer.from(value).toString());
  return all;
}

/** A storage whose commits fail from the n-th on, as a process that is killed does not commit. */
function dyingAfter(storage: Storage, commits: number): Storage {
  let left = commits;
  return Object.assign(Object.create(storage), {
    get: storage.get.bind(storage),
    scan: storage.scan.bind(storage),
    commit: async (batch: Parameters<Storage["commit"]>[0]) => {
      if (left-- <= 0) throw new Error("killed");
      return storage.commit(batch);
    },
  });
}

const many = (count: number) => Array.from({ length: count }, (_, i) => `logical/x/${String(i).padStart(6, "0")}`);

describe("a migration", () => {
  it("copies every entry as it is and takes its mark away", async () => {
    await fill(source, ["z".repeat(KEY_BYTES_MAX), ...many(1_300)]);
    const result = await migrate();
    expect(result).toMatchObject({ outcome: "done", isResumed: false, written: 1_307, unchanged: 0, removed: 0 });
    expect(await contentOf(target)).toEqual(await contentOf(source));
    expect(await readMigration(target)).toBeUndefined();
    expect(result.target).toEqual(result.source);
  });

  it("says what it would do in a dry run and writes nothing", async () => {
    const assertUnused = () => Promise.reject(new Error("servers are looked for, though nothing is copied"));
    const planned = await migrate({ isDryRun: true, assertUnused });
    expect(planned).toMatchObject({ outcome: "planned", source: { entries: 6 } });
    expect(await target.scan({ from: "", to: "~", limit: 9 })).toEqual([]);
  });

  it.each([1, 2, 3])(
    "goes on where one was killed after %i commits, and no server takes the store until then",
    async (n) => {
      await fill(source, many(1_100));
      const dying = { storage: dyingAfter(target, n), type: "memory", capacity: {} };
      await expect(migrate({ target: dying })).rejects.toThrow("killed");
      await expect(readSeal(target)).rejects.toMatchObject({
        code: "invalid_request",
        message: expect.stringContaining("migration that is not finished"),
      });
      const result = await migrate();
      expect(result).toMatchObject({ outcome: "done", isResumed: true });
      expect(result.unchanged).toBeGreaterThanOrEqual((n - 1) * 500);
      expect(await contentOf(target)).toEqual(await contentOf(source));
    },
  );

  it("corrects what the source changed and removed between two runs", async () => {
    await fill(source, many(600));
    expect(await migrate({ isOnline: true })).toMatchObject({ outcome: "unfinished", written: 606 });
    await expect(readSeal(target)).rejects.toMatchObject({ code: "invalid_request" });
    await source.commit({ expected: new Map(), writes: new Map([["logical/x/000007", null]]) });
    await fill(source, ["logical/x/000008", "logical/y"], "changed");
    expect(await migrate()).toMatchObject({ outcome: "done", written: 2, removed: 1, unchanged: 604 });
    expect(await contentOf(target)).toEqual(await contentOf(source));
  });

  it("does not end when the source changes meanwhile", async () => {
    const step = (stage: string) => {
      if (stage === "verifying") void fill(source, ["logical/late"]);
    };
    await expect(migrate({ progress: { step } })).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining("the source changed"),
    });
    expect(await readMigration(target)).toBeDefined();
    expect(await migrate()).toMatchObject({ outcome: "done", written: 1 });
  });

  it("ends when another run takes the destination over", async () => {
    let over: Promise<unknown> | undefined;
    const step = (stage: string) => {
      if (stage === "copying") over ??= migrate();
    };
    await fill(source, many(3_000));
    await expect(migrate({ progress: { step } })).rejects.toMatchObject({ code: "conflict" });
    await over;
    expect(await contentOf(target)).toEqual(await contentOf(source));
  });
});

describe("a migration is refused", () => {
  it("while a process has the source open, at the beginning and at the end", async () => {
    const inUse = async () => {
      throw new Error("in use");
    };
    await expect(migrate({ assertUnused: inUse })).rejects.toThrow("in use");
    expect(await readMigration(target)).toBeUndefined();
    let asked = 0;
    await expect(migrate({ assertUnused: async () => (++asked > 1 ? inUse() : undefined) })).rejects.toThrow("in use");
    expect(await readMigration(target)).toBeDefined();
  });

  it("for a destination that holds something else", async () => {
    await fill(target, ["logical/theirs"]);
    await expect(migrate()).rejects.toMatchObject({ message: expect.stringContaining("not empty") });
    expect(await contentOf(target)).toEqual(new Map([["logical/theirs", "value of logical/theirs"]]));
  });

  it("for the unfinished copy of another store", async () => {
    await migrate({ isOnline: true });
    source = openMemoryStorage();
    await source.commit({ expected: new Map(), writes: new Map([["core/cluster", Buffer.from("another")]]) });
    await expect(migrate()).rejects.toMatchObject({ message: expect.stringContaining("another store") });
  });

  it("from a source that is empty, never initialised, or itself unfinished", async () => {
    const emptied = openMemoryStorage();
    const from = { source: { storage: emptied, type: "memory" } };
    await expect(migrate(from)).rejects.toMatchObject({ message: expect.stringContaining("source is empty") });
    await fill(emptied, ["logical/x"]);
    await expect(migrate(from)).rejects.toMatchObject({ message: expect.stringContaining("never initialised") });
    await migrate({ isOnline: true });
    await expect(migrate({ source: { storage: target, type: "memory" } })).rejects.toMatchObject({
      message: expect.stringContaining("not finished"),
    });
  });

  it("from a source that a snapshot is being restored to", async () => {
    await fill(source, [RESTORE_KEY]);
    await expect(migrate()).rejects.toMatchObject({ message: expect.stringContaining("part of a snapshot") });
  });

  it.each<[string, StorageCapacity, string]>([
    ["value that is too large", { valueBytesMax: 20, advice: "raise it" }, "raise it"],
    ["store that is too large", { freeBytes: 100, freeOf: "the quota" }, "the quota has 100 left"],
  ])("before anything is written for a %s", async (_name, capacity, words) => {
    await expect(migrate({ capacity })).rejects.toMatchObject({
      code: "too_large",
      message: expect.stringContaining(words),
    });
    expect((await contentOf(target)).size).toBe(0);
  });
});

describe("the formats", () => {
  it("of the mark are those of the worked example", () => {
    const record = { run: "r1", source: "lmdb", identity: "ab", begun: 1000 };
    const example = '{"format":"coffer-migration","version":1,"run":"r1","source":"lmdb","identity":"ab","begun":1000}';
    expect(Buffer.from(encodeMigration(record)).toString()).toBe(example);
    expect(decodeMigration(Buffer.from(example))).toEqual(record);
    expect(() => decodeMigration(Buffer.from(example.replace('"version":1', '"version":2')))).toThrow(
      "use a newer one",
    );
  });

  it("of the digest are those of the worked example: value 'hi' at key 'é/a'", () => {
    const digest = new StoreDigest();
    digest.add("é/a", Buffer.from("hi"));
    expect(digest.finish()).toEqual({
      entries: 1,
      bytes: 6,
      largest: { key: "é/a", bytes: 2 },
      // printf '\0\0\0\4\303\251/a\0\0\0\2hi' | sha256sum
      digest: "c9bddcd7016ed5759563592543c6df29d9f51eabb5ef25f0a6195f1678e316f1",
    });
  });
});

describe("reading a store", () => {
  it("asks for few values at once where they are large", async () => {
    const large = Buffer.alloc(512 * 1024);
    for (const key of many(40)) await source.commit({ expected: new Map(), writes: new Map([[key, large]]) });
    const asked: number[] = [];
    const counted: Storage = Object.assign(Object.create(source), {
      scan: source.scan.bind(source),
      get: (keys: readonly string[]) => {
        asked.push(keys.length);
        return source.get(keys);
      },
    });
    let entries = 0;
    for await (const _entry of entriesOf(counted, MIGRATION_KEY)) entries++;
    expect(entries).toBe(46);
    expect(asked.slice(4).every((size) => size <= 4)).toBe(true);
  });
});
