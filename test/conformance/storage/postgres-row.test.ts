// The store in PostgreSQL where commits are kept apart by a row: the way for databases that speak the protocol and have no
// advisory locks, sequences or LISTEN. Tested on PostgreSQL itself, with its own isolation levels in the part of theirs.
import { randomBytes } from "node:crypto";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { execute, type PostgresServer, startPostgres } from "#server/storage/postgres/fixture.ts";
import { postgresKind } from "#server/storage/postgres/kind.ts";
import { statementsFor } from "#server/storage/postgres/statements.ts";
import type { Storage } from "#server/storage/storage.ts";
import { commit, increment, put, textOf } from "./single-operations.ts";

const started = await startPostgres();
const opened: Storage[] = [];

describe.skipIf(started === undefined)("the store in PostgreSQL by row", () => {
  let server: PostgresServer;
  beforeAll(() => {
    if (started === undefined) throw new Error("PostgreSQL is not installed");
    server = started;
  });
  afterEach(async () => {
    for (const storage of opened.splice(0)) await storage.close();
  });
  afterAll(() => server.remove());

  const newTable = () => `kv_${randomBytes(6).toString("hex")}`;
  const open = async (table: string, more: JsonObject = {}): Promise<Storage> => {
    const config = { connection_url: server.url, table, ...more };
    const storage = await postgresKind.open(config, { log: silentLog, clock: systemClock });
    opened.push(storage);
    return storage;
  };
  const openByRow = (table: string, count: number, isolation?: string) => {
    const options = isolation === undefined ? {} : { options: `-c default_transaction_isolation=${isolation}` };
    return Promise.all(Array.from({ length: count }, () => open(table, { locking: "row", ...options })));
  };
  const formatOf = async (table: string) => {
    const rows = await select(server.url, `SELECT name, value FROM ${table}_format ORDER BY name`);
    return Object.fromEntries(rows.map(([name, value]) => [name, value]));
  };

  describe.each([
    ["read committed", "read\\ committed"],
    ["repeatable read", "repeatable\\ read"],
    ["serializable", "serializable"],
  ])("at isolation %s", (_name, isolation) => {
    it("loses no update of several servers, and tries again what the database has refused", async () => {
      const table = newTable();
      const storages = await openByRow(table, 3, isolation);
      const [writers, rounds] = [3, 10];
      const work = storages.flatMap((storage, server_) =>
        Array.from({ length: writers }, async (_, writer) => {
          for (let i = 0; i < rounds; i++) {
            await increment(storage, "counter");
            await put(storage, `own/${server_}/${writer}`, String(i));
          }
        }),
      );
      await Promise.all(work);
      expect(await textOf(storages[0], "counter")).toBe(String(storages.length * writers * rounds));
      expect(await storages[1]?.list("own/", { limit: 10 })).toEqual(["0/", "1/", "2/"]);
    });

    it("never lets both write on the other's absence, and never both on what the other one changes", async () => {
      const [one, two] = await openByRow(newTable(), 2, isolation);
      for (let round = 0; round < 25; round++) {
        const [left, right] = [`${round}/left`, `${round}/right`];
        const expected = new Map([
          [left, undefined],
          [right, undefined],
        ]);
        const results = await Promise.all([commit(one, expected, left), commit(two, expected, right)]);
        expect(results.filter((result) => result === "committed")).toHaveLength(1);
      }
    });
  });

  it("removes records without a trace, and in one commit with others", async () => {
    const table = newTable();
    const [one] = await openByRow(table, 1);
    await put(one, "a", "1");
    const [entry] = (await one?.get(["a"])) ?? [];
    const writes = new Map<string, Buffer | null>([
      ["a", null],
      ["absent", null],
      ["b", Buffer.from("2")],
    ]);
    expect(await one?.commit({ expected: new Map([["a", entry?.version]]), writes })).toBe("committed");
    expect(await one?.commit({ expected: new Map([["a", entry?.version]]), writes })).toBe("conflict");
    expect(await select(server.url, `SELECT convert_from(key, 'UTF8') FROM ${table}`)).toEqual([["b"]]);
  });

  it("tells the size of its table", async () => {
    const [one] = await openByRow(newTable(), 1);
    await put(one, "a", randomBytes(1_000_000).toString("hex"));
    await expect.poll(() => one?.usage?.()?.sizeBytes).toBeGreaterThan(1_900_000);
  });

  it("is made by several servers at once, and by itself where there are no advisory locks", async () => {
    const table = newTable();
    const storages = await openByRow(table, 6);
    await put(storages[0], "a", "1");
    for (const storage of storages) expect(await textOf(storage, "a")).toBe("1");
    expect(await formatOf(table)).toEqual({ format: "coffer", version: "2", locking: "row" });
    await execute(server.url, "CREATE ROLE lockless LOGIN; GRANT ALL ON SCHEMA public TO lockless");
    const functions = ["pg_advisory_xact_lock(bigint)", "pg_advisory_xact_lock_shared(bigint)"];
    for (const name of functions) await execute(server.url, `REVOKE EXECUTE ON FUNCTION ${name} FROM PUBLIC`);
    const url = server.url.replace("coffer@", "lockless@");
    const other = newTable();
    const found = await open(other, { connection_url: url });
    await put(found, "a", "1");
    expect(await formatOf(other)).toMatchObject({ locking: "row" });
    // A store of the other kind would not be safe there.
    const advisory = newTable();
    await (await open(advisory)).close();
    await execute(server.url, `GRANT ALL ON ALL TABLES IN SCHEMA public TO lockless`);
    await expect(open(advisory, { connection_url: url })).rejects.toMatchObject({
      code: "invalid_request",
      message: expect.stringContaining("advisory locks"),
    });
    for (const name of functions) await execute(server.url, `GRANT EXECUTE ON FUNCTION ${name} TO PUBLIC`);
  });

  it("is one way for all servers of a store: a configuration that says another is refused", async () => {
    const table = newTable();
    const [first] = await openByRow(table, 1);
    await put(first, "a", "1");
    // Without the setting the store says it.
    expect(await textOf(await open(table), "a")).toBe("1");
    const refused = { code: "invalid_request", message: expect.stringContaining("storage.locking") };
    await expect(open(table, { locking: "advisory" })).rejects.toMatchObject(refused);
    const other = newTable();
    await open(other);
    await expect(open(other, { locking: "row" })).rejects.toMatchObject(refused);
    const theirs = newTable();
    await execute(server.url, `CREATE TABLE ${theirs} (key text)`);
    await expect(open(theirs, { locking: "row" })).rejects.toMatchObject({
      message: expect.stringContaining("another program's"),
    });
  });

  it("tells of other servers' changes without LISTEN", async () => {
    const [one, two] = await openByRow(newTable(), 2);
    let [toldOne, toldTwo] = [0, 0];
    using _one = one?.watch(() => toldOne++);
    using _two = two?.watch(() => toldTwo++);
    await systemClock.sleep(1_200);
    [toldOne, toldTwo] = [0, 0];
    for (let i = 0; i < 10; i++) await put(one, "a", String(i));
    await expect.poll(() => toldTwo, { timeout: 5_000 }).toBeGreaterThan(0);
    expect(toldOne).toBe(0);
    const listening = await select(
      server.url,
      "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE '%listen%coffer%'",
    );
    expect(listening).toEqual([["1"]]);
  });

  it("loses nothing that was acknowledged when the database is killed", async () => {
    const [storage] = await openByRow(newTable(), 1);
    const acknowledged: string[] = [];
    let [stopped, n] = [false, 0];
    const writers = Array.from({ length: 6 }, async () => {
      while (!stopped) {
        const key = `w/${n++}`;
        await put(storage, key, key).then(
          () => acknowledged.push(key),
          () => systemClock.sleep(10),
        );
      }
    });
    await systemClock.sleep(300);
    await server.kill9();
    const before = acknowledged.length;
    await server.start();
    await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(before + 20);
    stopped = true;
    await Promise.all(writers);
    const found = (await storage?.get(acknowledged)) ?? [];
    expect(found.filter((entry) => entry === undefined)).toEqual([]);
  });

  it("uses nothing that CockroachDB, YugabyteDB or Aurora DSQL lack", () => {
    const texts = Object.entries(statementsFor("t", "row")).map(([, { text }]) => text);
    expect(texts.join("\n")).not.toMatch(
      /advisory|nextval|last_value|txid|notify|listen|for share|materialized|\bdo \$/i,
    );
    // Several changes of one table in a statement are refused by CockroachDB.
    for (const text of texts) expect(text.match(/\b(INSERT INTO|UPDATE|DELETE FROM) "/g)?.length ?? 0).toBeLessThan(2);
  });

  describe("a store of an older format", () => {
    it("is brought up to date once, by whoever comes first, and keeps what is in it", async () => {
      const table = newTable();
      await execute(server.url, formatOne(table));
      const storages = await Promise.all(Array.from({ length: 5 }, () => open(table)));
      expect(await formatOf(table)).toEqual({ format: "coffer", version: "2", locking: "advisory" });
      for (const storage of storages) expect(await textOf(storage, "é/a")).toBe("hi");
      expect((await storages[0]?.get(["é/a"]))?.[0]?.version).toBe(258n);
      await put(storages[1], "é/a", "2");
      expect((await storages[2]?.get(["é/a"]))?.[0]?.version).toBe(259n);
    });

    it("is refused when it is a newer one", async () => {
      const table = newTable();
      await (await open(table, { locking: "row" })).close();
      await execute(server.url, `UPDATE ${table}_format SET value = '3' WHERE name = 'version'`);
      await expect(open(table)).rejects.toMatchObject({
        code: "invalid_request",
        message: expect.stringContaining("use a newer one"),
      });
    });
  });
});

/** What the program made before there was a choice of locking: value 'hi' of version 258 at key 'é/a'. */
const formatOne = (table: string) => `
  CREATE TABLE ${table} (key bytea PRIMARY KEY, version bigint NOT NULL, value bytea NOT NULL);
  ALTER TABLE ${table} ALTER COLUMN value SET STORAGE EXTERNAL;
  CREATE SEQUENCE ${table}_version;
  SELECT setval('${table}_version', 258);
  CREATE TABLE ${table}_format (name text PRIMARY KEY, value text NOT NULL);
  INSERT INTO ${table}_format VALUES ('format', 'coffer'), ('version', '1');
  INSERT INTO ${table} VALUES ('\\xc3a92f61', 258, '\\x6869')`;

async function select(url: string, text: string): Promise<readonly (readonly string[])[]> {
  const client = new Client({ connectionString: url });
  try {
    await client.connect();
    const { rows } = await client.query<string[]>({ text, rowMode: "array" });
    return rows.map((row) => row.map(String));
  } finally {
    await client.end();
  }
}
