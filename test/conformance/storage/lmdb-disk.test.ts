// The store in a directory when the disk has no room, is read-only or belongs to somebody else; its size in figures; and
// a second process that follows the growth of the map.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { createLog, silentLog } from "#common/log.ts";
import { openLmdbStorage } from "#server/storage/lmdb/lmdb-storage.ts";
import type { Storage } from "#server/storage/storage.ts";
import { type SmallDisk, startSmallDisk } from "#test/kit/small-disk.ts";

const MIB = 1024 * 1024;
const disk = await startSmallDisk(12 * MIB);
const opened: Storage[] = [];
let path = "";

beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "coffer-lmdb-disk-"));
});
afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close();
  await rm(path, { recursive: true, force: true });
});

async function openStore(directory: string, more: { mapBytes?: number; write?: (line: string) => void } = {}) {
  const { write, ...rest } = more;
  const log =
    write === undefined ? silentLog : createLog({ level: "info", format: "text", write, now: () => systemClock.now() });
  const storage = await openLmdbStorage({ path: directory, log, clock: systemClock, ...rest });
  opened.push(storage);
  return storage;
}

const put = (storage: Storage, key: string, value: Uint8Array | null) =>
  storage.commit({ expected: new Map(), writes: new Map([[key, value]]) });

const filled = (n: number, bytes: number) => Buffer.alloc(bytes, n % 251);

it("small disks can be made in CI", () => {
  if (process.env["CI"] === "true") expect(disk).toBeDefined();
});

describe.skipIf(disk === undefined)("a full disk", () => {
  let small: SmallDisk;
  beforeEach(async () => {
    if (disk === undefined) throw new Error("no small disk");
    small = disk;
    await small.free();
    await rm(join(small.path, "store"), { recursive: true, force: true });
  });

  it("refuses writes with the next step, goes on reading, loses nothing, and recovers by itself", async () => {
    const lines: string[] = [];
    const folder = join(small.path, "store");
    const storage = await openStore(folder, { write: (line) => lines.push(line) });
    await small.leave(4 * MIB);
    const acknowledged = new Map<string, number>();
    const failures: unknown[] = [];
    let [stopped, n] = [false, 0];
    const writers = Array.from({ length: 4 }, async () => {
      while (!stopped) {
        const mine = n++;
        const size = mine % 40 === 7 ? 300_000 : 20_000;
        await put(storage, `w/${mine}`, filled(mine, size)).then(
          () => acknowledged.set(`w/${mine}`, mine),
          (error: unknown) => failures.push(error),
        );
        await systemClock.sleep(1);
      }
    });
    await expect.poll(() => failures.length, { timeout: 20_000 }).toBeGreaterThan(50);
    const full = { code: "unavailable", message: expect.stringContaining("make room") };
    for (const failure of failures) expect(failure).toMatchObject(full);
    expect(storage.usage?.()?.trouble).toContain("full");
    await expectAll(storage, acknowledged);
    const before = acknowledged.size;
    await small.free();
    await expect.poll(() => acknowledged.size, { timeout: 20_000 }).toBeGreaterThan(before + 20);
    stopped = true;
    await Promise.all(writers);
    expect(storage.usage?.()?.trouble).toBeUndefined();
    await expectAll(storage, acknowledged);
    await storage.close();
    await expectAll(await openStore(folder), acknowledged);
    expect(lines.filter((line) => line.includes("full"))).toHaveLength(1);
    expect(lines.filter((line) => line.includes("room for the storage again"))).toHaveLength(1);
  });

  it("is said when there is no room to make a store", async () => {
    for (const bytes of [0, 40_000, 60_000, 500_000]) {
      await small.leave(bytes);
      await expect(openStore(join(small.path, "store"))).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringMatching(/room|space/),
      });
      await small.free();
      await rm(join(small.path, "store"), { recursive: true, force: true });
    }
    // What was left by a program that died while it made the store is no store.
    await (await openStore(join(small.path, "store"))).close();
    const file = join(small.path, "store", "data.mdb");
    const head = (await readFile(file)).subarray(0, 12_288);
    // So far LMDB counts its two heads; one that counts more pages was used and cut short.
    head.writeBigUInt64LE(1n, 144);
    await writeFile(file, head);
    expect(await put(await openStore(join(small.path, "store")), "a", filled(1, 100))).toBe("committed");
  });

  it("lets a large commit fail and small ones go on while there is room for them", async () => {
    const storage = await openStore(join(small.path, "store"));
    await put(storage, "a", filled(1, 100));
    await small.leave(3 * MIB);
    await expect(put(storage, "large", filled(2, 8 * MIB))).rejects.toMatchObject({ code: "unavailable" });
    await expect.poll(() => put(storage, "b", filled(3, 100)).catch(() => "not yet")).toBe("committed");
    expect((await storage.get(["a", "large", "b"])).map((entry) => entry?.value[5])).toEqual([1, undefined, 3]);
  });

  it("tells of the other process's changes after commits of its own have failed", async () => {
    const folder = join(small.path, "store");
    const [one, two] = [await openStore(folder), await startWriter(folder)];
    let told = 0;
    using _watch = one.watch(() => told++);
    await small.leave(2 * MIB);
    for (let i = 0; i < 5; i++) await expect(put(one, "large", filled(i, 8 * MIB))).rejects.toThrow();
    await small.free();
    await systemClock.sleep(300);
    two.say("write");
    await expect.poll(() => told).toBeGreaterThan(0);
    await two.end();
  });

  it("that is read-only is said when the store is opened", async () => {
    const another = await startSmallDisk(MIB);
    if (another === undefined) throw new Error("no small disk");
    await another.setReadOnly();
    await expect(openStore(join(another.path, "store"))).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/read-only.*check its owner and mount/),
    });
    await another.remove();
  });
});

describe("the store's files", () => {
  it("are said to be somebody else's, or in use by another build of LMDB", async () => {
    await (await openStore(path)).close();
    const lock = join(path, "lock.mdb");
    // What another build leaves has another format number behind the magic one; it counts while that program runs.
    const holder = await startWriter(path);
    await using file = await open(lock, "r+");
    const head = Buffer.alloc(32);
    await file.read(head, 0, 32, 0);
    const at = head.indexOf(Buffer.from("dec0efbe", "hex"));
    expect(at).toBeGreaterThanOrEqual(0);
    const format = head.readUInt32LE(at + 4);
    head.writeUInt32LE(format + 1, 0);
    await file.write(head, 0, 4, at + 4);
    await expect(openStore(path)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("another build of LMDB"),
    });
    await holder.end();
  });

  it("are refused when their format of LMDB is another one", async () => {
    await (await openStore(path)).close();
    await using file = await open(join(path, "data.mdb"), "r+");
    const head = Buffer.alloc(64);
    await file.read(head, 0, 64, 0);
    const at = head.indexOf(Buffer.from("dec0efbe", "hex"));
    await file.write(Buffer.from([9, 0]), 0, 2, at + 4);
    await expect(openStore(path)).rejects.toMatchObject({ code: "invalid_request" });
  });

  it.skipIf(process.getuid?.() !== 0)("are named when they belong to somebody else", async () => {
    const folder = join(path, "theirs");
    await mkdir(folder);
    await (await openStore(folder)).close();
    for (const name of [path, folder]) await chown(name, 65_534, 65_534);
    // As that user, the directory is its own and the files are root's.
    const child = startChild(folder, { uid: 65_534, gid: 65_534 });
    const output = await outputOf(child);
    expect(output).toMatch(/belongs to somebody else|check its owner/);
  });
});

describe("the size of a store", () => {
  it("is told: what the file has, what of it is in use, what the disk allows, and the map", async () => {
    const storage = await openStore(path);
    for (let i = 0; i < 20; i++) await put(storage, `big/${i}`, filled(i, MIB));
    const before = storage.usage?.();
    expect(before?.sizeBytes).toBeGreaterThan(20 * MIB);
    expect((before?.sizeBytes ?? 0) / (await stat(join(path, "data.mdb"))).size).toBeCloseTo(1, 1);
    expect(before?.usedBytes).toBeGreaterThan(20 * MIB);
    expect(before?.usedBytes).toBeLessThanOrEqual(before?.sizeBytes ?? 0);
    expect(before?.limitBytes).toBeGreaterThan(before?.sizeBytes ?? 0);
    expect(before?.mapBytes).toBe(2 ** 40);
    for (let i = 0; i < 15; i++) await put(storage, `big/${i}`, null);
    // Sizes are told as they were a second ago at most.
    const freed = () => (before?.usedBytes ?? 0) - (storage.usage?.()?.usedBytes ?? 0);
    await expect.poll(freed, { timeout: 5_000 }).toBeGreaterThan(14 * MIB);
    expect(storage.usage?.()?.sizeBytes).toBeGreaterThanOrEqual(before?.sizeBytes ?? 0);
  });
});

describe("a second process", () => {
  it("follows the map when the first one has grown it beyond what either had reserved", async () => {
    const storage = await openStore(path, { mapBytes: MIB });
    await put(storage, "first", filled(1, 10));
    const other = await startWriter(path, String(MIB));
    other.say("read first");
    await expect.poll(other.output).toContain("first=1\n");
    for (let i = 0; i < 24; i++) await put(storage, `big/${i}`, filled(i, MIB));
    other.say("read big/23");
    await expect.poll(other.output, { timeout: 10_000 }).toContain("big/23=23\n");
    other.say("write");
    await expect.poll(other.output, { timeout: 10_000 }).toContain("written\n");
    expect((await storage.get(["by-other", "big/11"])).map((entry) => entry?.value[5])).toEqual([7, 11]);
    await other.end();
  });
});

async function expectAll(storage: Storage, acknowledged: ReadonlyMap<string, number>): Promise<void> {
  const found = await storage.get([...acknowledged.keys()]);
  expect(found.map((entry) => entry?.value[5])).toEqual([...acknowledged.values()].map((n) => n % 251));
}

interface Writer {
  say(line: string): void;
  output(): string;
  end(): Promise<void>;
}

/** A process that has the store open and does what it is told. */
async function startWriter(directory: string, mapBytes = "0"): Promise<Writer> {
  const child = startChild(directory, {}, mapBytes);
  let text = "";
  child.stdout?.on("data", (chunk) => (text += String(chunk)));
  await expect.poll(() => text, { timeout: 20_000 }).toContain("open\n");
  return {
    say: (line) => void child.stdin?.write(`${line}\n`),
    output: () => text,
    end: async () => {
      const ended = once(child, "exit");
      child.stdin?.end();
      await ended;
    },
  };
}

function startChild(directory: string, owner: { uid?: number; gid?: number } = {}, mapBytes = "0"): ChildProcess {
  const script = join(import.meta.dirname, "process.ts");
  return spawn(process.execPath, [script, directory, "obey", mapBytes], { stdio: "pipe", cwd: "/", ...owner });
}

async function outputOf(child: ChildProcess): Promise<string> {
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (text += String(chunk)));
  await once(child, "close");
  return text;
}
