// `coffer storage copy` and `coffer storage compact`: what is copied while a process writes is one instant of the store,
// and a compacted one has everything in less room.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { openLmdbStorage } from "#server/storage/lmdb/lmdb-storage.ts";
import type { Storage } from "#server/storage/storage.ts";
import { startSmallDisk } from "#test/kit/small-disk.ts";
import { cli } from "#test/run-cli.ts";

const MIB = 1024 * 1024;
const opened: Storage[] = [];
let folder = "";
let data = "";
let config = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-lmdb-copy-"));
  data = join(folder, "data");
  config = join(folder, "server.hcl");
  await writeFile(config, `storage "lmdb" { path = "${data}" }\nlistener "tcp" { address = "127.0.0.1:0" }\n`);
});
afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close();
  await rm(folder, { recursive: true, force: true });
});

async function openStore(path = data): Promise<Storage> {
  const storage = await openLmdbStorage({ path, log: silentLog, clock: systemClock });
  opened.push(storage);
  return storage;
}

const run = (...argv: string[]) => cli({}, "storage", ...argv, `-config=${config}`);
const put = (storage: Storage, values: Record<string, Uint8Array | null>) =>
  storage.commit({ expected: new Map(), writes: new Map(Object.entries(values)) });

async function fillAndEmpty(storage: Storage): Promise<void> {
  for (let i = 0; i < 20; i++)
    await put(storage, { [`big/${i}`]: Buffer.alloc(MIB, i), [`small/${i}`]: Buffer.from([i]) });
  for (let i = 0; i < 18; i++) await put(storage, { [`big/${i}`]: null });
}

async function expectKept(storage: Storage): Promise<void> {
  expect((await storage.get(["big/17", "big/18", "big/19"])).map((entry) => entry?.value[9])).toEqual([
    undefined,
    18,
    19,
  ]);
  expect(await storage.list("small/", { limit: 99 })).toHaveLength(20);
}

describe("a copy", () => {
  it("is one instant of a store that is being written", async () => {
    const storage = await openStore();
    await fillAndEmpty(storage);
    let [stopped, n] = [false, 0];
    const writer = (async () => {
      for (; !stopped; n++) await put(storage, { left: Buffer.from(String(n)), right: Buffer.from(String(n)) });
    })();
    const target = join(folder, "copy");
    const { code, stdout } = await run("copy", target);
    stopped = true;
    await writer;
    expect([code, stdout]).toEqual([0, expect.stringContaining(`to ${target}`)]);
    const copied = await openStore(target);
    const [left, right] = await copied.get(["left", "right"]);
    expect(left).toBeDefined();
    expect(left).toEqual(right);
    expect(n).toBeGreaterThan(5);
    await expectKept(copied);
    expect(await put(copied, { more: Buffer.from("1") })).toBe("committed");
  });

  it("without free pages is smaller", async () => {
    await fillAndEmpty(await openStore());
    const [whole, less] = [join(folder, "whole"), join(folder, "less")];
    await run("copy", whole);
    const { code } = await run("copy", "-compact", less);
    expect(code).toBe(0);
    const size = async (path: string) => (await stat(join(path, "data.mdb"))).size;
    expect(await size(less)).toBeLessThan((await size(whole)) / 4);
    await expectKept(await openStore(less));
  });

  it("is refused into a directory that is not empty, of no store, and without room", async () => {
    const missing = await run("copy", join(folder, "copy"));
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining("there is no store")]);
    await fillAndEmpty(await openStore());
    const full = await run("copy", folder);
    expect([full.code, full.stderr]).toEqual([1, expect.stringContaining("is not empty")]);
    const disk = await startSmallDisk(4 * MIB);
    if (disk === undefined) return;
    const small = await run("copy", join(disk.path, "copy"));
    expect([small.code, small.stderr]).toEqual([1, expect.stringContaining("make room first")]);
    await disk.remove();
  });

  it("of another kind of storage is that kind's matter", async () => {
    await writeFile(config, `storage "postgres" { connection_url = "postgres://u@localhost/d" }`);
    const { code, stderr } = await run("copy", join(folder, "copy"));
    expect([code, stderr]).toEqual([1, expect.stringContaining("docs/guides/postgres.md")]);
  });
});

describe("compaction", () => {
  it("makes the store smaller and keeps all of it, its versions and its owner", async () => {
    const storage = await openStore();
    await fillAndEmpty(storage);
    const before = await storage.get(["small/3"]);
    await storage.close();
    if (process.getuid?.() === 0) await chown(join(data, "data.mdb"), 65_534, 65_534);
    const { code, stdout } = await run("compact");
    expect([code, stdout]).toEqual([0, expect.stringContaining("Compacted the store from 2")]);
    const after = await stat(join(data, "data.mdb"));
    expect(after.size).toBeLessThan(4 * MIB);
    if (process.getuid?.() === 0) expect(after.uid).toBe(65_534);
    expect((await readdir(data)).toSorted()).toEqual(["data.mdb", "lock.mdb"]);
    const again = await openStore();
    await expectKept(again);
    expect(await again.get(["small/3"])).toEqual(before);
    expect(await put(again, { "small/3": Buffer.from("1") })).toBe("committed");
    expect((await again.get(["small/3"]))[0]?.version).toBeGreaterThan(before[0]?.version ?? 0n);
  });

  it.each([
    ["here", []],
    ["in another container", ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]],
  ])(
    "is refused while another process %s has the store open, and leaves it alone",
    async (_where, [shell, ...flags]) => {
      if (shell !== undefined && process.getuid?.() !== 0) return;
      const script = join(import.meta.dirname, "process.ts");
      // Whoever looks for it stands in the other namespace: the one with this process in it sees all of them.
      const child = spawn(process.execPath, [script, data, "obey"], { stdio: ["pipe", "pipe", "inherit"] });
      await once(child.stdout, "data");
      const { code, stderr } = shell === undefined ? await run("compact") : await runElsewhere(shell, flags);
      expect([code, stderr]).toEqual([1, expect.stringContaining("stop the server first")]);
      const ended = once(child, "exit");
      child.stdin.end();
      await ended;
      expect((await run("compact")).code).toBe(0);
    },
  );
});

/** The program in a namespace of processes of its own, as in another container. */
async function runElsewhere(shell: string, flags: readonly string[]): Promise<{ code: number; stderr: string }> {
  const program = join(import.meta.dirname, "../../../src/cli/main.ts");
  const argv = ["--disable-warning=ExperimentalWarning", program, "storage", "compact", `-config=${config}`];
  const child = spawn(shell, [...flags, process.execPath, ...argv], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += String(chunk)));
  const [code] = await once(child, "close");
  return { code: Number(code), stderr };
}
