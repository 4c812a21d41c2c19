// A real server on LMDB whose disk fills up: writes are refused with 503 and the next step, reads go on, nothing that was
// acknowledged is lost, and it recovers by itself, also when it was killed while the disk was full.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import {
  type RunningServer,
  type ShamirServer,
  startServer,
  startShamirServer,
  writeConfig,
} from "#test/kit/server.ts";
import { type SmallDisk, startSmallDisk } from "#test/kit/small-disk.ts";
import { call, must } from "#test/kit/two-servers.ts";

const MIB = 1024 * 1024;
const VALUE = "v".repeat(6_000);
const disk = await startSmallDisk(16 * MIB);

it("small disks can be made in CI", () => {
  if (process.env["CI"] === "true") expect(disk).toBeDefined();
});

describe.skipIf(disk === undefined)("a server whose disk is full", () => {
  let small: SmallDisk;
  let server: RunningServer;
  let first: ShamirServer;
  let folder: string;
  const acknowledged = new Set<string>();

  beforeAll(async () => {
    if (disk === undefined) throw new Error("no small disk");
    small = disk;
    folder = await mkdtemp(join(tmpdir(), "coffer-full-"));
    first = await startShamirServer({ storage: { lmdb: { path: join(small.path, "store") } } });
    server = first;
    await must(server, "POST", "sys/mounts/secret", first.rootToken, { type: "kv" });
  });
  afterAll(async () => {
    await server?.kill9();
    await first?.stop();
    await small?.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const write = async (n: number) => {
    const path = `secret/full/${n}`;
    const answer = await call(server, "PUT", path, first.rootToken, { path, VALUE });
    if (answer.status < 300) acknowledged.add(path);
    return answer;
  };
  const expectKept = async () => {
    for (const path of acknowledged) {
      const { status, body } = await call(server, "GET", path, first.rootToken);
      expect([status, body["data"]]).toEqual([200, { path, VALUE }]);
    }
  };
  /** Writes until nothing has been taken for a while; gives the refusals' statuses and the last one's text. */
  const writeUntilFull = async () => {
    const statuses = new Set<number>();
    let [refusals, text] = [0, ""];
    for (let n = acknowledged.size; refusals < 40; n += 8) {
      const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => write(n + i)));
      for (const { status, body } of answers.filter(({ status }) => status >= 300)) {
        statuses.add(status);
        text = JSON.stringify(body);
        refusals++;
      }
    }
    return { statuses: [...statuses], text };
  };

  it("answers 503 to writes, says what to do, and goes on reading", async () => {
    await small.leave(3 * MIB);
    const { statuses, text } = await writeUntilFull();
    expect(statuses).toEqual([503]);
    expect(text).toContain("make room");
    expect(acknowledged.size).toBeGreaterThan(20);
    await expectKept();
    const status = await call(server, "GET", "sys/seal-status", "");
    expect(status.body).toMatchObject({ sealed: false, storage_trouble: expect.stringContaining("full") });
    expect((await call(server, "GET", "sys/health", "")).status).toBe(200);
    const metrics = await fetch(`${server.address}/v1/sys/metrics?format=prometheus`, {
      headers: { "x-vault-token": first.rootToken },
    });
    const lines = await metrics.text();
    expect(lines).toContain("\ncoffer_storage_trouble 1\n");
    expect(lines).toMatch(/\ncoffer_storage_size_bytes \d{7,}\n/);
  });

  it("takes writes again when there is room, without anybody's doing", async () => {
    await small.free();
    const before = acknowledged.size;
    await expect.poll(async () => (await write(10_000 + acknowledged.size)).status, { timeout: 10_000 }).toBe(204);
    for (let n = 0; n < 20; n++) expect((await write(20_000 + n)).status).toBe(204);
    expect(acknowledged.size).toBeGreaterThan(before + 20);
    const status = await call(server, "GET", "sys/seal-status", "");
    expect(status.body).not.toHaveProperty("storage_trouble");
    await expectKept();
  });

  it("loses nothing when it is killed while the disk is full, and starts on the full disk", async () => {
    await small.leave(2 * MIB);
    await writeUntilFull();
    await server.kill9();
    server = await startServer([
      `-config=${await writeConfig(folder, { storage: { lmdb: { path: join(small.path, "store") } } })}`,
    ]);
    expect((await call(server, "PUT", "sys/unseal", "", { key: first.unsealKey })).body).toMatchObject({
      sealed: false,
    });
    await expectKept();
    await small.free();
    await systemClock.sleep(300);
    await expect.poll(async () => (await write(30_000)).status, { timeout: 10_000 }).toBe(204);
    await expectKept();
  });
});
