// A store in a file that lost its end: a server says so and does not begin; a file that is short because its last pages
// are free is taken.
import { copyFile, mkdir, mkdtemp, open, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { openLmdbStorage } from "#server/storage/lmdb/lmdb-storage.ts";
import { assertWholeFile } from "#server/storage/lmdb/whole-file.ts";
import { startServer, writeConfig } from "#test/kit/server.ts";

const ENTRIES = 400;
const PAGE_BYTES = 8_192;
/** Larger than a page now and then. */
const bytesOf = (i: number) => Buffer.alloc(i % 10 === 0 ? 30_000 : 3_000, i);

let folder = "";
let whole = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-cut-"));
  whole = join(folder, "whole");
  const storage = await openLmdbStorage({ path: whole, log: silentLog, clock: systemClock });
  for (let i = 0; i < ENTRIES; i++)
    await storage.commit({ expected: new Map(), writes: new Map([[`k/${i}`, bytesOf(i)]]) });
  await storage.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function cutAt(size: number): Promise<string> {
  const path = join(folder, `cut-${size}`);
  await mkdir(path);
  await copyFile(join(whole, "data.mdb"), join(path, "data.mdb"));
  await truncate(join(path, "data.mdb"), size);
  return path;
}

const sizeOf = async (path: string) => (await stat(join(path, "data.mdb"))).size;
const refused = { code: "unavailable", message: expect.stringContaining("cut short") };

it("is refused wherever it was cut", async () => {
  const size = await sizeOf(whole);
  const cuts = [100, 4_096, PAGE_BYTES, PAGE_BYTES + 10, 2 * PAGE_BYTES, 3 * PAGE_BYTES, 100_000, size / 2];
  for (const cut of [...cuts, size - 20 * PAGE_BYTES].map(Math.floor)) {
    const path = await cutAt(cut);
    await expect(openLmdbStorage({ path, log: silentLog, clock: systemClock }), String(cut)).rejects.toMatchObject(
      refused,
    );
  }
});

it("is taken when it is whole, and when only free pages are missing at its end", async () => {
  await expect(assertWholeFile(whole)).resolves.toBeUndefined();
  // The count of pages in both heads says one more than there are: the last one is free.
  const path = await cutAt(await sizeOf(whole));
  const handle = await open(join(path, "data.mdb"), "r+");
  for (const head of [0, PAGE_BYTES]) {
    const { buffer } = await handle.read(Buffer.alloc(8), 0, 8, head + 144);
    buffer.writeBigUInt64LE(buffer.readBigUInt64LE() + 3n);
    await handle.write(buffer, 0, 8, head + 144);
  }
  await handle.close();
  const storage = await openLmdbStorage({ path, log: silentLog, clock: systemClock });
  const keys = await storage.scan({ from: "k/", to: "k0", limit: ENTRIES + 1 });
  const found = await storage.get(keys);
  for (const [i, key] of keys.entries())
    expect(Buffer.from(found[i]?.value ?? []).equals(bytesOf(Number(key.slice(2))))).toBe(true);
  expect(keys).toHaveLength(ENTRIES);
  await storage.close();
});

it("ends a server's start with words, not with a signal", async () => {
  const path = await cutAt(100_001);
  const config = await writeConfig(path, { storage: { lmdb: { path } }, workers: 1 });
  await expect(startServer([`-config=${config}`])).rejects.toThrow(
    /did not start:[\s\S]*data\.mdb is cut short or damaged/,
  );
});
