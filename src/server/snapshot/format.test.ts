// The format of snapshots: a worked example, what readers refuse, and that ordinary tools can check one.
import { execFileSync } from "node:child_process";
import { createHash, createSecretKey } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { StoredEntry } from "../storage/storage.ts";
import { CHUNK_BYTES, MEMBER_BYTES_MAX } from "./format.ts";
import { isAuthentic, SnapshotReader } from "./read-snapshot.ts";
import { readTar, tarHeader } from "./tar.ts";
import { Writer } from "./write-snapshot.ts";

const key = createSecretKey(Buffer.alloc(32, 7));
const META = {
  id: "11111111-2222-4333-8444-555555555555",
  created: "2026-01-01T00:00:00.000000000Z",
  cluster_name: "coffer",
  cluster_id: "c1",
  storage: "lmdb",
  coffer_version: "0.1.0",
  seals: [{ name: "shamir", key_id: "k1" }],
};
const NOW = 1_767_225_600_000;
const entry = (name: string, value: string | Buffer): StoredEntry => ({ key: name, value: Buffer.from(value) });

async function* batches(...all: readonly (readonly StoredEntry[])[]) {
  yield* all;
}

async function write(...all: readonly (readonly StoredEntry[])[]): Promise<Buffer> {
  return gzipSync(
    Buffer.concat(await Array.fromAsync(new Writer(META, { term: 3, key }, NOW).archive(batches(...all)))),
  );
}

async function* once(file: Uint8Array) {
  for (let at = 0; at < file.length; at += 1000) yield file.subarray(at, at + 1000);
}

async function readBack(file: Uint8Array) {
  const reader = new SnapshotReader(once(file));
  const meta = await reader.meta();
  const chunks = await Array.fromAsync(reader.chunks(meta));
  return { meta, chunks, entries: chunks.flat(), checked: reader.finish() };
}

describe("a snapshot", () => {
  it("is these bytes (worked example)", async () => {
    const file = gunzipSync(await write([entry("core/a", "one"), entry("é", "")]));
    const members = await Array.fromAsync(readTar(once(file), MEMBER_BYTES_MAX));
    expect(members.map(({ name }) => name)).toEqual([
      "meta.json",
      "entries/00000000",
      "trailer.json",
      "SHA256SUMS",
      "SHA256SUMS.sealed",
    ]);
    const text = (index: number) => members[index]?.content.toString();
    expect(text(0)).toBe(
      '{"format":"coffer-snapshot","version":1,"id":"11111111-2222-4333-8444-555555555555",' +
        '"created":"2026-01-01T00:00:00.000000000Z","cluster_name":"coffer","cluster_id":"c1","storage":"lmdb",' +
        '"coffer_version":"0.1.0","seals":[{"name":"shamir","key_id":"k1"}]}\n',
    );
    const entries = "00000006" + "636f72652f61" + "00000003" + "6f6e65" + "00000002" + "c3a9" + "00000000";
    expect(members[1]?.content.toString("hex")).toBe(entries);
    const sum = createHash("sha256").update(Buffer.from(entries, "hex")).digest("hex");
    expect(text(2)).toBe(`{"entries":2,"bytes":27,"sha256":"${sum}"}\n`);
    expect(text(3)?.split("\n")[1]).toBe(`${sum}  entries/00000000`);
    expect(text(4)).toBe(
      '{"version":1,"algorithm":"HMAC-SHA-256","term":3,"mac":"2Kk5Zmt/J8G+J4dgj8NG1g/yU8Xpv+QPTPgOpBipaGM="}\n',
    );
  });

  it("gives back what was put in, in members of a bounded size", async () => {
    const large = Buffer.alloc(CHUNK_BYTES * 2, 1);
    const all = [
      entry("a", large),
      ...Array.from({ length: 3_000 }, (_, i) => entry(`b${String(i).padStart(5, "0")}`, Buffer.alloc(900, i))),
    ];
    const { entries, chunks, checked } = await readBack(await write(all.slice(0, 10), all.slice(10)));
    expect(entries.map(({ key: name }) => name)).toEqual(all.map(({ key: name }) => name));
    expect(Buffer.compare(entries[0]?.value ?? Buffer.alloc(0), large)).toBe(0);
    expect(chunks.length).toBeGreaterThan(3);
    expect(checked.trailer.entries).toBe(all.length);
    expect(isAuthentic(checked, key)).toBe(true);
    expect(isAuthentic(checked, createSecretKey(Buffer.alloc(32, 8)))).toBe(false);
  });

  it("can be empty", async () => {
    const { entries, checked } = await readBack(await write());
    expect([entries, checked.trailer.entries]).toEqual([[], 0]);
  });

  it("can be checked with tar and sha256sum", async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-format-"));
    try {
      await writeFile(join(folder, "s.snap"), await write([entry("a", "1"), entry("b", "2")]));
      execFileSync("tar", ["xzf", "s.snap"], { cwd: folder });
      const checked = execFileSync("sha256sum", ["-c", "SHA256SUMS"], { cwd: folder }).toString();
      expect(checked.trim().split("\n")).toEqual(["meta.json: OK", "entries/00000000: OK", "trailer.json: OK"]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("what is no whole snapshot", () => {
  const whole = () => write([entry("a", "first value"), entry("b", "second value")]);
  const changed = async (change: (plain: Buffer) => Buffer) => gzipSync(change(gunzipSync(await whole())));
  const replaced = (from: string, to: string) => (plain: Buffer) =>
    Buffer.from(plain.toString("latin1").replace(from, to), "latin1");

  it.each([
    ["nothing", async () => Buffer.alloc(0)],
    ["another file", async () => Buffer.from("not a snapshot, not even compressed")],
    ["cut short", async () => (await whole()).subarray(0, -20)],
    ["cut in the archive", () => changed((plain) => plain.subarray(0, 2048))],
    ["without its end", () => changed((plain) => plain.subarray(0, -3072))],
    ["a changed value", () => changed(replaced("second value", "second walue"))],
    ["a changed count", () => changed(replaced('"entries":2', '"entries":3'))],
    ["entries out of order", () => write([entry("b", "1"), entry("a", "2")])],
    ["another format", () => changed(replaced("coffer-snapshot", "others-snapshot"))],
    ["a newer format", () => changed(replaced('"version":1,"id"', '"version":2,"id"'))],
    [
      "a member too many",
      () => changed((plain) => Buffer.concat([plain.subarray(0, -1024), tarHeader("x", 0, 0), Buffer.alloc(1024)])),
    ],
  ])("is refused: %s", async (_name, make) => {
    await expect(readBack(await make())).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("is refused when a member is larger than any may be, before it is read", async () => {
    const header = gzipSync(tarHeader("meta.json", MEMBER_BYTES_MAX + 1, 0));
    const failure = { code: "invalid_request", message: expect.stringContaining("too large") };
    await expect(readBack(header)).rejects.toMatchObject(failure);
  });

  it("does not pass the seal when its checksums were made anew", async () => {
    const forged = await Array.fromAsync(
      new Writer(META, { term: 3, key: createSecretKey(Buffer.alloc(32, 9)) }, NOW).archive(batches([entry("a", "x")])),
    );
    const { checked } = await readBack(gzipSync(Buffer.concat(forged)));
    expect(isAuthentic(checked, key)).toBe(false);
  });
});
