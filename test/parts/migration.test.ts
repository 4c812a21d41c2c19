// `coffer storage migrate` over the real storages: a server's store goes from lmdb to PostgreSQL to etcd and back, with
// migrations killed on the way, and each server that starts on a copy serves all that was there.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { type EtcdServer, startEtcd } from "#server/storage/etcd/fixture.ts";
import { type PostgresServer, startPostgres } from "#server/storage/postgres/fixture.ts";
import { findStorageKind } from "#server/storage/registry.ts";
import type { Storage } from "#server/storage/storage.ts";
import { at, must } from "#test/kit/client.ts";
import { type RunningServer, startServer, untilUnsealed } from "#test/kit/server.ts";

const PROGRAM = join(import.meta.dirname, "../../src/cli/main.ts");
/** Enough that a copy takes seconds, so that it can be killed on the way. */
const BULK = 12_000;
const BULK_BYTES = 1_000;
const KILLS = 3;
const SECRETS = 25;

const postgres = await startPostgres();
const etcd = await startEtcd();

it("PostgreSQL and etcd are installed in CI", () => {
  if (process.env["CI"] === "true") expect([postgres, etcd].map((part) => part !== undefined)).toEqual([true, true]);
});

interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...argv: string[]): { readonly child: ChildProcess; readonly finished: Promise<Finished> } {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", PROGRAM, ...argv]);
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (output.stdout += String(chunk)));
  child.stderr.on("data", (chunk: Buffer) => (output.stderr += String(chunk)));
  return { child, finished: once(child, "close").then(() => ({ code: child.exitCode, ...output })) };
}

const run = (...argv: string[]) => start(...argv).finished;

describe.skipIf(postgres === undefined || etcd === undefined)("a store that moves", () => {
  let folder: string;
  let root: string;
  const seal = { static: { current_key: randomBytes(32).toString("base64"), current_key_id: "one" } };
  const storages: Record<string, JsonObject> = {};

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "coffer-migration-"));
    Object.assign(storages, storagesOf(folder, postgres, etcd));
    for (const [name, storage] of Object.entries(storages)) {
      const listener = { tcp: { address: "127.0.0.1:0", tls_disable: true } };
      await writeFile(config(name), JSON.stringify({ storage, listener, seal }));
    }
    await writeFile(config("stanza"), JSON.stringify({ storage: storages["there"] }));
    root = await makeStore();
  });

  afterAll(async () => {
    await postgres?.remove();
    await etcd?.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const config = (name: string) => join(folder, `${name}.json`);
  const migrate = (from: string, to: string, ...more: string[]) =>
    start("storage", "migrate", `-from=${config(from)}`, `-to=${config(to)}`, ...more);

  async function makeStore(): Promise<string> {
    const server = await startServer([`-config=${config("here")}`]);
    const made = await must(server.address, "", "POST", "sys/init", { recovery_shares: 1, recovery_threshold: 1 });
    const token = String(made["root_token"]);
    await untilUnsealed(server);
    await must(server.address, token, "POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
    for (let n = 0; n < SECRETS; n++)
      await must(server.address, token, "POST", `secret/data/app/${n}`, { data: { n: String(n) } });
    const refused = await migrate("here", "postgres").finished;
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/process(es)? [\d, ]+ on this machine serves? the source/);
    await server.stop();
    await withStore("here", addBulk);
    return token;
  }

  async function withStore<T>(name: string, use: (storage: Storage) => Promise<T>): Promise<T> {
    const [[type = "", stanza] = []] = Object.entries(storages[name] ?? {});
    const kind = findStorageKind(type);
    if (kind === undefined || !isJsonObject(stanza)) throw new Error(`there is no storage ${name}`);
    const storage = await kind.open(stanza, { log: silentLog, clock: systemClock });
    try {
      return await use(storage);
    } finally {
      await storage.close();
    }
  }

  async function expectServing(name: string): Promise<void> {
    const server = await startServer([`-config=${config(name)}`]);
    try {
      await untilUnsealed(server);
      for (let n = 0; n < SECRETS; n++) {
        const read = await must(server.address, root, "GET", `secret/data/app/${n}`);
        expect(at(read, "data", "data")).toEqual({ n: String(n) });
      }
    } finally {
      await server.stop();
    }
  }

  it.each([
    ["here", "postgres"],
    ["postgres", "etcd"],
    ["etcd", "there"],
  ])("from %s to %s, killed on the way and run again", async (from, to) => {
    const planned = await migrate(from, to, "-dry-run").finished;
    expect(planned).toMatchObject({ code: 0, stdout: expect.stringContaining("Nothing was written") });
    for (let kill = 1; kill <= KILLS; kill++) {
      const { child, finished } = migrate(from, to);
      await withStore(to, (storage) => untilHolds(storage, (BULK * kill) / (KILLS + 1), finished));
      child.kill("SIGKILL");
      await finished;
    }
    const half = await run("server", `-config=${config(to)}`);
    expect(half).toMatchObject({ code: 1, stderr: expect.stringContaining("migration that is not finished") });
    const done = await migrate(from, to === "there" ? "stanza" : to, "-format=json").finished;
    // On a slow machine progress is told, a line each five seconds.
    expect(done.stderr.replace(/^\w+: \d+( of \d+ \(\d+ %\))?\n/gm, "")).toBe("");
    const report = parseJson(done.stdout);
    expect(report).toMatchObject({ outcome: "done", resumed: true });
    expect(Number(at(report, "unchanged"))).toBeGreaterThan(BULK / 4);
    expect(at(report, "destination_digest")).toBe(at(report, "digest"));
    await expectServing(to);
    expect(await migrate(from, to).finished).toMatchObject({ code: 1, stderr: expect.stringContaining("not empty") });
  });

  it("beforehand while a server runs, and only the differences when it is stopped", async () => {
    const server: RunningServer = await startServer([`-config=${config("here")}`]);
    await untilUnsealed(server);
    expect(await migrate("here", "later", "-dry-run").finished).toMatchObject({ code: 0, stderr: "" });
    expect(await migrate("here", "later").finished).toMatchObject({
      ...{ code: 1, stderr: expect.stringMatching(/serves? the source; stop the server first/) },
    });
    const before = await migrate("here", "later", "-online").finished;
    expect(before).toMatchObject({ code: 0, stdout: expect.stringContaining("run this without -online") });
    await must(server.address, root, "POST", "secret/data/app/3", { data: { n: "3", again: "1" } });
    await must(server.address, root, "POST", "secret/data/app/3", { data: { n: "3" } });
    await server.stop();
    const done = parseJson((await migrate("here", "later", "-format=json").finished).stdout);
    expect(done).toMatchObject({ outcome: "done", resumed: true });
    expect(Number(at(done, "written"))).toBeLessThan(50);
    await expectServing("later");
  });

  it("not into etcd with a value that it does not take, and nothing is written", async () => {
    await withStore("here", async (storage) => {
      const writes = new Map([["logical/bulk/large", Buffer.alloc(1_600_000, 1)]]);
      await storage.commit({ expected: new Map(), writes });
    });
    const refused = await migrate("here", "small").finished;
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("logical/bulk/large has 1600000 bytes") });
    expect(await withStore("small", (storage) => storage.scan({ from: "", to: "~", limit: 9 }))).toEqual([]);
  });
});

function storagesOf(
  folder: string,
  database: PostgresServer | undefined,
  cluster: EtcdServer | undefined,
): Record<string, JsonObject> {
  const address = (cluster?.addresses ?? []).join(",");
  return {
    here: { lmdb: { path: join(folder, "here") } },
    there: { lmdb: { path: join(folder, "there") } },
    later: { lmdb: { path: join(folder, "later") } },
    postgres: { postgres: { connection_url: database?.url ?? "" } },
    etcd: { etcd: { address, path: "moved" } },
    small: { etcd: { address, path: "small" } },
  };
}

/** What the barrier would hold, as far as a migration can tell: bytes. */
async function addBulk(storage: Storage): Promise<void> {
  for (let i = 0; i < BULK; i += 500) {
    const keys = Array.from({ length: 500 }, (_, n) => `logical/bulk/${String(i + n).padStart(6, "0")}`);
    const writes = new Map(keys.map((key) => [key, randomBytes(BULK_BYTES)]));
    await storage.commit({ expected: new Map(), writes });
  }
}

/** Waits until so many of the bulk are there, or the migration has ended before. */
async function untilHolds(storage: Storage, entries: number, finished: Promise<Finished>): Promise<void> {
  let ended: Finished | undefined;
  void finished.then((result) => (ended = result));
  const last = `logical/bulk/${String(Math.floor(entries)).padStart(6, "0")}`;
  while (!(await storage.get([last]))[0]) {
    if (ended !== undefined) throw new Error(`the migration ended before it could be killed: ${JSON.stringify(ended)}`);
    await systemClock.sleep(2);
  }
}
