// What only the store in a directory promises: sharing by processes, no acknowledged write lost to kill -9, and clear
// words about directories that it cannot use.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "lmdb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { keyEncoder } from "#server/storage/lmdb/format.ts";
import { openLmdbStorage } from "#server/storage/lmdb/lmdb-storage.ts";
import type { Storage } from "#server/storage/storage.ts";

let path = "";
const opened: Storage[] = [];

beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "coffer-lmdb-"));
});
afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close();
  await rm(path, { recursive: true, force: true });
});

async function openStore(directory = path, mapBytes?: number): Promise<Storage> {
  const options = { path: directory, log: silentLog, clock: systemClock, ...(mapBytes !== undefined && { mapBytes }) };
  const storage = await openLmdbStorage(options);
  opened.push(storage);
  return storage;
}

function start(...args: string[]): ChildProcess {
  const script = join(import.meta.dirname, "process.ts");
  return spawn(process.execPath, [script, path, ...args], { stdio: ["ignore", "pipe", "inherit"] });
}

async function finished(child: ChildProcess): Promise<void> {
  const [code] = await once(child, "exit");
  expect(code).toBe(0);
}

async function put(storage: Storage, key: string, value: Uint8Array): Promise<void> {
  expect(await storage.commit({ expected: new Map(), writes: new Map([[key, value]]) })).toBe("committed");
}

describe("several processes", () => {
  it("share a store, lose no update and are told of changes", async () => {
    const rounds = 150;
    // They make the store at the same time, too.
    const children = Array.from({ length: 3 }, () => finished(start("increment", `${rounds}`)));
    const storage = await openStore();
    let told = 0;
    using _watch = storage.watch(() => told++);
    await Promise.all(children);
    const [entry] = await storage.get(["counter"]);
    expect(Buffer.from(entry?.value ?? []).toString()).toBe(String(children.length * rounds));
    await expect.poll(() => told).toBeGreaterThan(0);
  });

  it("are not told of their own changes", async () => {
    const storage = await openStore();
    let told = 0;
    using _watch = storage.watch(() => told++);
    for (let i = 0; i < 20; i++) await put(storage, "a", Buffer.from([i]));
    await systemClock.sleep(300);
    expect(told).toBe(0);
  });
});

describe("kill -9", () => {
  it("loses nothing that was acknowledged and leaves no half commit", async () => {
    for (let round = 0; round < 3; round++) {
      const child = start("write");
      let output = "";
      child.stdout?.on("data", (chunk) => (output += String(chunk)));
      await expect.poll(() => output.length, { timeout: 20_000 }).toBeGreaterThan(2000);
      child.kill("SIGKILL");
      await once(child, "close");
      const names = output.split("\n").slice(0, -1);
      const storage = await openStore();
      const found = await storage.get(names.map((name) => `w/${name}`));
      expect(found.map((entry) => entry && Buffer.from(entry.value).toString())).toEqual(names);
      const range = (folder: string) => storage.scan({ from: `${folder}/`, to: `${folder}0`, limit: 1e9 });
      const below = (keys: readonly string[]) => keys.map((key) => key.slice(key.indexOf("/")));
      expect(below(await range("w"))).toEqual(below(await range("twin")));
      await storage.close();
    }
  });
});

describe("the map", () => {
  it("grows beyond what was reserved, with two processes writing", async () => {
    const storage = await openStore(path, 1024 * 1024);
    const other = start("increment", "100");
    for (let i = 0; i < 24; i++) await put(storage, `big/${i}`, Buffer.alloc(1024 * 1024, i));
    await finished(other);
    expect((await storage.get(["big/0", "big/23"])).map((entry) => entry?.value[5])).toEqual([0, 23]);
    expect(Buffer.from((await storage.get(["counter"]))[0]?.value ?? []).toString()).toBe("100");
  });
});

describe("a directory that cannot be used", () => {
  const foreign = { code: "invalid_request", message: expect.stringContaining("another program") };

  it("is made when missing, for its owner only", async () => {
    await openStore(join(path, "deep", "er"));
    expect((await stat(join(path, "deep", "er"))).mode & 0o777).toBe(0o700);
  });

  it("is refused when it holds Vault's own data, and taken with lost+found", async () => {
    await mkdir(join(path, "vault", "raft"), { recursive: true });
    await expect(openStore(join(path, "vault"))).rejects.toMatchObject(foreign);
    await mkdir(join(path, "fresh", "lost+found"), { recursive: true });
    await expect(openStore(join(path, "fresh"))).resolves.toBeInstanceOf(Object);
  });

  it("is refused when its data file is no LMDB file", async () => {
    await writeFile(join(path, "data.mdb"), Buffer.alloc(16_384, "nonsense"));
    await expect(openStore()).rejects.toMatchObject(foreign);
  });

  it("is refused when the LMDB file is another program's", async () => {
    const other = open<Buffer, string>({ path, noSubdir: false, encoding: "binary", keyEncoder });
    await other.put("theirs", Buffer.from("1"));
    await other.close();
    await expect(openStore()).rejects.toMatchObject(foreign);
  });

  it.each([
    ["newer", '{"format":"coffer","version":2}', "use a newer one"],
    ["of another name", '{"format":"else","version":1}', "another program"],
    ["no record", "nonsense", "another program"],
  ])("is refused when the format is %s", async (_name, record, words) => {
    const storage = await openStore();
    await storage.close();
    const raw = open<Buffer, string>({ path, noSubdir: false, encoding: "binary", keyEncoder, pageSize: 8192 });
    await raw.put("format", Buffer.from(record));
    await raw.close();
    const failure = { code: "invalid_request", message: expect.stringContaining(words) };
    await expect(openStore()).rejects.toMatchObject(failure);
  });

  it("is refused when it is a file", async () => {
    const file = join(path, "file");
    await writeFile(file, "");
    await expect(openStore(file)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining(file),
    });
  });
});
