// What only the store in PostgreSQL promises: any number of servers at once, nothing lost when the database or a
// connection dies, the schema made once, and clear words about databases that it cannot use.
import { randomBytes } from "node:crypto";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { execute, type PostgresServer, startPostgres, startStandby } from "#server/storage/postgres/fixture.ts";
import { postgresKind } from "#server/storage/postgres/kind.ts";
import { KEY_BYTES_MAX, type Storage } from "#server/storage/storage.ts";
import { startTcpProxy } from "#test/kit/tcp-proxy.ts";
import { createTestAuthority } from "#test/kit/tls-pair.ts";
import { commit, increment, put, textOf } from "./single-operations.ts";

// Durable: some tests end it without warning.
const started = await startPostgres();
const opened: Storage[] = [];

describe("PostgreSQL", () => {
  it("is installed in CI", () => {
    if (process.env["CI"] === "true") expect(started).toBeDefined();
  });
});

describe.skipIf(started === undefined)("the store in PostgreSQL", () => {
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
  const openSeveral = (table: string, count: number) => Promise.all(Array.from({ length: count }, () => open(table)));

  describe("several servers", () => {
    it("make the store at the same time", async () => {
      const storages = await openSeveral(newTable(), 5);
      await put(storages[0], "a", "1");
      for (const storage of storages) expect(await textOf(storage, "a")).toBe("1");
    });

    it("lose no update of a key they contend for", async () => {
      const storages = await openSeveral(newTable(), 3);
      const [writers, rounds] = [6, 20];
      const work = storages.flatMap((storage) =>
        Array.from({ length: writers }, async () => {
          for (let i = 0; i < rounds; i++) await increment(storage, "counter");
        }),
      );
      await Promise.all(work);
      expect(await textOf(storages[0], "counter")).toBe(String(storages.length * writers * rounds));
    });

    it("never both write on the other's absence", async () => {
      const [one, two] = await openSeveral(newTable(), 2);
      for (let round = 0; round < 150; round++) {
        const [left, right] = [`${round}/left`, `${round}/right`];
        const expected = new Map([
          [left, undefined],
          [right, undefined],
        ]);
        const results = await Promise.all([commit(one, expected, left), commit(two, expected, right)]);
        expect(results.filter((result) => result === "committed")).toHaveLength(1);
      }
    });

    it("never both write on what the other one changes", async () => {
      const [one, two] = await openSeveral(newTable(), 2);
      await put(one, "left", "");
      await put(one, "right", "");
      for (let round = 0; round < 150; round++) {
        const [left, right] = (await one?.get(["left", "right"])) ?? [];
        const expected = new Map([
          ["left", left?.version],
          ["right", right?.version],
        ]);
        const results = await Promise.all([commit(one, expected, "left"), commit(two, expected, "right")]);
        expect(results.filter((result) => result === "committed")).toHaveLength(1);
      }
    });

    it("move money between accounts, and every reading has all of it", async () => {
      const storages = await openSeveral(newTable(), 2);
      const accounts = Array.from({ length: 5 }, (_, i) => `account/${i}`);
      for (const account of accounts) await put(storages[0], account, "100");
      const end = systemClock.now() + 2000;
      const movers = storages.flatMap((storage) =>
        Array.from({ length: 6 }, async (_, i) => {
          while (systemClock.now() < end) await move(storage, accounts[i % 5] ?? "", accounts[(i + 1) % 5] ?? "");
        }),
      );
      let readings = 0;
      while (systemClock.now() < end) {
        const found = (await storages[readings++ % 2]?.get(accounts)) ?? [];
        expect(found.reduce((sum, entry) => sum + Number(Buffer.from(entry?.value ?? [])), 0)).toBe(500);
      }
      await Promise.all(movers);
      expect(readings).toBeGreaterThan(10);
    });

    it("see a change that was made while a commit waited for its turn", async () => {
      const table = newTable();
      const [one, two] = await openSeveral(table, 2);
      await put(one, "watched", "1");
      const version = (await one?.get(["watched"]))?.[0]?.version;
      const large = "x".repeat(8 * 1024 * 1024);
      // The large one is on its way for a while and holds no lock meanwhile; the small one passes it.
      const slow = commit(one, new Map([["watched", version]]), "slow", large);
      await systemClock.sleep(5);
      await put(two, "watched", "2");
      const [after] = (await two?.get(["watched"])) ?? [];
      const result = await slow;
      if (result === "committed") expect((await one?.get(["slow"]))?.[0]?.version).toBeLessThan(after?.version ?? 0n);
      else expect((await one?.get(["slow"]))?.[0]).toBeUndefined();
    });

    it("tell each other which keys changed, or that something did", async () => {
      const [one, two] = await openSeveral(newTable(), 2);
      const told: (readonly string[] | "all")[] = [];
      using _watch = two?.watch((keys) => told.push(keys));
      await put(one, "a/b", "1");
      await expect.poll(() => told.flat(), { timeout: 5000 }).not.toHaveLength(0);
      // By now both listen.
      await systemClock.sleep(1500);
      told.length = 0;
      const before = systemClock.now();
      await put(one, "a/c", "1");
      await expect.poll(() => told.flat(), { timeout: 5000, interval: 5 }).toContain("a/c");
      expect(systemClock.now() - before).toBeLessThan(450);
    });

    it.each(["kv", "k".repeat(55)])("tell each other the keys of a table in a schema: %s", async (name) => {
      const schema = `${"s".repeat(40)}${randomBytes(6).toString("hex")}`;
      await execute(server.url, `CREATE SCHEMA ${schema}`);
      const [one, two] = await openSeveral(`${schema}.${name}`, 2);
      const told = new Set<string>();
      using _watch = two?.watch((keys) => told.add(String(keys)));
      using _first = one?.watch(() => {});
      // By the look at the sequence alone it would be told that something changed, and never what.
      const toldOf = async () => {
        await put(one, "named", "1");
        return told.has("named");
      };
      await expect.poll(toldOf, { timeout: 10_000, interval: 200 }).toBe(true);
    });

    it("are told by the sequence alone, too", async () => {
      const table = newTable();
      const storage = await open(table);
      let told = 0;
      using _watch = storage.watch(() => told++);
      await systemClock.sleep(1500);
      const before = told;
      await execute(server.url, `INSERT INTO ${table} VALUES ('x', nextval('${table}_version'), '')`);
      await expect.poll(() => told, { timeout: 5000 }).toBeGreaterThan(before);
    });
  });

  describe("keys and values", () => {
    it("take keys of the maximum that do not compress", async () => {
      const storage = await open(newTable());
      const keys = Array.from({ length: 20 }, () => randomBytes(KEY_BYTES_MAX / 2).toString("hex"));
      for (const key of keys) await put(storage, key, "1");
      expect(await storage.scan({ from: "", to: "g", limit: 50 })).toEqual(keys.toSorted());
    });

    it("takes commits of many keys at once", async () => {
      const [one, two] = await openSeveral(newTable(), 2);
      const writes = (owner: string) => new Map(Array.from({ length: 3000 }, (_, i) => [`${i}`, Buffer.from(owner)]));
      const both = [one, two].map((storage, i) => storage?.commit({ expected: new Map(), writes: writes(String(i)) }));
      expect(await Promise.all(both)).toEqual(["committed", "committed"]);
      const found = (await one?.get(Array.from({ length: 3000 }, (_, i) => `${i}`))) ?? [];
      expect(new Set(found.map((entry) => entry?.version)).size).toBe(1);
    });

    it("one commit that is too large for the database does not take others with it", async () => {
      const table = newTable();
      const storage = await open(table);
      await execute(server.url, `ALTER TABLE ${table} ADD CHECK (key <> 'bad')`);
      const keys = ["a", "bad", "b", "c"];
      const results = await Promise.allSettled(keys.map((key) => put(storage, key, "1")));
      expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
    });
  });

  describe("a database that goes away", () => {
    it("loses nothing that was acknowledged to kill -9, answers unavailable meanwhile and then goes on", async () => {
      const storage = await open(newTable());
      const acknowledged: string[] = [];
      const failures = new Set<string>();
      let [stop, n] = [false, 0];
      const writers = Array.from({ length: 8 }, async () => {
        while (!stop) {
          const key = `w/${n++}`;
          await put(storage, key, key).then(
            () => acknowledged.push(key),
            (error: unknown) => failures.add(codeOf(error)),
          );
          await systemClock.sleep(1);
        }
      });
      for (let round = 0; round < 2; round++) {
        await systemClock.sleep(400);
        await server.kill9();
        const before = acknowledged.length;
        await systemClock.sleep(200);
        await server.start();
        await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(before + 20);
      }
      stop = true;
      await Promise.all(writers);
      expect(["unavailable", "unconfirmed"]).toEqual(expect.arrayContaining([...failures]));
      expect(failures.size).toBeGreaterThan(0);
      const found = await storage.get(acknowledged);
      expect(found.filter((entry) => entry === undefined)).toEqual([]);
    });

    it("is noticed when the connection only hangs", async () => {
      const proxy = await startTcpProxy(server.port);
      const url = `postgres://coffer@127.0.0.1:${proxy.port}/postgres?sslmode=disable&connect_timeout=1`;
      const storage = await open(newTable(), { connection_url: url, statement_timeout: "1s" });
      await put(storage, "a", "1");
      proxy.lose("both");
      await expect(storage.get(["a"])).rejects.toMatchObject({ code: "unavailable" });
      proxy.mend();
      expect(await textOf(storage, "a")).toBe("1");
      await storage.close();
      await proxy.close();
    });

    it("is asked for a few connections only, whatever comes at once, and statements that take too long are ended", async () => {
      const table = newTable();
      const storage = await open(table, { max_parallel: "3", application_name: table, statement_timeout: "1s" });
      await put(storage, "a/b", "1");
      using _watch = storage.watch(() => {});
      const all = Array.from({ length: 300 }, (_, i) =>
        i % 3 === 0
          ? storage.list("a/", { limit: 9 })
          : i % 3 === 1
            ? storage.get(["a/b"])
            : put(storage, `k/${i}`, "1"),
      );
      const most = countSessions(server, table);
      await Promise.all(all);
      expect(await most).toBeLessThanOrEqual(4);
      const began = systemClock.now();
      const locked = execute(server.url, `BEGIN; LOCK TABLE ${table}; SELECT pg_sleep(4); COMMIT`);
      await systemClock.sleep(300);
      // Both at once: whichever fails first must not be without somebody who waits for it.
      const calls = [storage.get(["a/b"]), put(storage, "c", "1")];
      await Promise.all(calls.map((call) => expect(call).rejects.toMatchObject({ code: "unavailable" })));
      expect(systemClock.now() - began).toBeLessThan(3_900);
      await locked;
      expect(await textOf(storage, "a/b")).toBe("1");
    });

    it("is followed to its standby when that takes over, with all that was acknowledged", async () => {
      const primary = await startPostgres({ synchronous_standby_names: "*", synchronous_commit: "local" });
      if (primary === undefined) throw new Error("PostgreSQL is not installed");
      const standby = await startStandby(primary);
      try {
        // In these sessions a commit is answered when the standby has it too.
        const hosts = `127.0.0.1:${standby.port},127.0.0.1:${primary.port}`;
        const url = `postgres://coffer@${hosts}/postgres?sslmode=disable&options=-c%20synchronous_commit%3Don`;
        const storage = await open(newTable(), { connection_url: url });
        const acknowledged: string[] = [];
        let [stop, n] = [false, 0];
        const writers = Array.from({ length: 4 }, async () => {
          while (!stop) {
            const key = `w/${n++}`;
            await put(storage, key, key).then(
              () => acknowledged.push(key),
              () => systemClock.sleep(10),
            );
          }
        });
        await systemClock.sleep(500);
        await primary.kill9();
        const before = acknowledged.length;
        expect(before).toBeGreaterThan(10);
        await execute(standby.url, "SELECT pg_promote()");
        await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(before + 10);
        stop = true;
        await Promise.all(writers);
        expect((await storage.get(acknowledged)).filter((entry) => entry === undefined)).toEqual([]);
        await storage.close();
      } finally {
        await standby.remove();
        await primary.remove();
      }
    });

    it("is left for the next host when it can only be read", async () => {
      const table = newTable();
      const other = await startPostgres({ fsync: "off" });
      if (other === undefined) throw new Error("PostgreSQL is not installed");
      try {
        const hosts = `127.0.0.1:${server.port},127.0.0.1:${other.port}`;
        const url = `postgres://coffer@${hosts}/postgres?sslmode=disable&target_session_attrs=read-write`;
        const first = await open(table, { connection_url: url });
        await put(first, "a", "on the first");
        await open(table, { connection_url: other.url });
        await execute(server.url, "ALTER SYSTEM SET default_transaction_read_only = on");
        await execute(server.url, "SELECT pg_reload_conf()");
        await systemClock.sleep(500);
        // The sessions that it has find out by their next write; then there is the other one.
        await expect.poll(() => put(first, "b", "1").then(() => "written", codeOf), { timeout: 5000 }).toBe("written");
        expect(await textOf(first, "a")).toBeUndefined();
        expect(await textOf(await open(table, { connection_url: other.url }), "b")).toBe("1");
      } finally {
        await execute(server.url, "ALTER SYSTEM RESET ALL");
        await execute(server.url, "SELECT pg_reload_conf()");
        for (const storage of opened.splice(0)) await storage.close();
        await other.remove();
      }
    });
  });

  describe("a database that cannot be used", () => {
    it("is refused when the format is newer, or the table another program's", async () => {
      const table = newTable();
      const storage = await open(table);
      await storage.close();
      await execute(server.url, `UPDATE ${table}_format SET value = '3' WHERE name = 'version'`);
      const newer = { code: "invalid_request", message: expect.stringContaining("use a newer one") };
      await expect(open(table)).rejects.toMatchObject(newer);
      const theirs = newTable();
      await execute(server.url, `CREATE TABLE ${theirs} (parent_path text, path text, key text, value bytea)`);
      const foreign = { code: "invalid_request", message: expect.stringContaining("another program's") };
      await expect(open(theirs)).rejects.toMatchObject(foreign);
    });

    it("is refused when the table must not be made, or may not", async () => {
      const table = newTable();
      const missing = { code: "invalid_request", message: expect.stringContaining("skip_create_table") };
      await expect(open(table, { skip_create_table: "true" })).rejects.toMatchObject(missing);
      await execute(server.url, "CREATE ROLE poor LOGIN");
      const url = server.url.replace("coffer@", "poor@");
      const denied = { code: "invalid_request", message: expect.stringContaining("grant CREATE") };
      await expect(open(table, { connection_url: url })).rejects.toMatchObject(denied);
    });

    it("is unavailable when nobody listens, and the configuration wrong when the database is missing", async () => {
      const nobody = { connection_url: "postgres://coffer@127.0.0.1:1/postgres" };
      await expect(open(newTable(), nobody)).rejects.toMatchObject({ code: "unavailable" });
      const elsewhere = { connection_url: server.url.replace("/postgres?", "/nowhere?") };
      const refused = { code: "invalid_request", message: expect.stringContaining("nowhere") };
      await expect(open(newTable(), elsewhere)).rejects.toMatchObject(refused);
    });
  });

  describe("a database with passwords and TLS", () => {
    it("is reached with a password from a file that changes, and with what sslmode asks for", async () => {
      await execute(server.url, "CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'first word'");
      await server.write(
        "pg_hba.conf",
        "host all keeper 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
      );
      await execute(server.url, "SELECT pg_reload_conf()");
      const file = server.path("password");
      await server.write("password", "first word\n");
      const table = newTable();
      const url = server.url.replace("coffer@", "keeper@");
      const storage = await open(table, { connection_url: url, password_file: file });
      await put(storage, "a", "1");
      await execute(server.url, "ALTER ROLE keeper PASSWORD 'second'");
      await server.write("password", "second");
      const again = await open(table, { connection_url: url, password_file: file });
      expect(await textOf(again, "a")).toBe("1");
      const wrong = await open(table, { connection_url: url, password: "p4ss" }).catch((error: unknown) => error);
      expect(wrong).toMatchObject({ code: "invalid_request" });
      expect(String(wrong)).not.toContain("p4ss");
      // This server has no TLS: prefer goes without, require does not.
      expect(await textOf(await open(table, { sslmode: "prefer" }), "a")).toBe("1");
      await expect(open(table, { sslmode: "require" })).rejects.toMatchObject({ code: "unavailable" });
    });

    it("is reached by TLS alone, its certificate checked, with a certificate of one's own", async () => {
      const [ours, theirs] = [await createTestAuthority(), await createTestAuthority()];
      const [pair, client] = [await ours.server("database"), await ours.client("certain")];
      const files = { "ca.pem": ours.cert, "theirs.pem": theirs.cert, "server.pem": pair.cert, "server.key": pair.key };
      const all = { ...files, "client.pem": client.cert, "client.key": client.key };
      for (const [name, text] of Object.entries(all)) await server.write(name, text);
      await execute(server.url, "CREATE ROLE certain LOGIN SUPERUSER");
      const rules = ["hostssl all certain all cert", "hostnossl all certain all reject", "host all all all trust"];
      await server.write("pg_hba.conf", rules.join("\n"));
      await server.stop();
      await server.start({
        ssl: "on",
        ssl_cert_file: "server.pem",
        ssl_key_file: "server.key",
        ssl_ca_file: "ca.pem",
      });
      const table = newTable();
      const own = { sslcert: server.path("client.pem"), sslkey: server.path("client.key") };
      const certain = (host: string, more: JsonObject) =>
        open(table, { connection_url: `postgres://certain@${host}:${server.port}/postgres`, ...more });
      const checked = { ...own, sslrootcert: server.path("ca.pem") };
      await put(await certain("localhost", { ...checked, sslmode: "verify-full" }), "a", "1");
      await put(await certain("127.0.0.1", { ...checked, sslmode: "verify-ca" }), "a", "1");
      await put(await certain("localhost", { ...own, sslmode: "require" }), "a", "1");
      await put(await certain("localhost", { ...own, sslmode: "prefer" }), "a", "1");
      const strangers = { ...own, sslrootcert: server.path("theirs.pem"), sslmode: "verify-full" };
      await expect(certain("localhost", strangers)).rejects.toMatchObject({ code: "unavailable" });
      await expect(certain("localhost", { ...own, sslmode: "disable" })).rejects.toMatchObject({
        code: "invalid_request",
      });
      await expect(certain("localhost", { sslmode: "require" })).rejects.toMatchObject({ code: "invalid_request" });
    });
  });
});

/** The connections of an application, looked at once while it works. */
async function countSessions({ url }: PostgresServer, application: string): Promise<number> {
  const client = new Client({ connectionString: url });
  try {
    await client.connect();
    const text = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = $1";
    const { rows } = await client.query<{ n: number }>(text, [application]);
    return rows[0]?.n ?? 0;
  } finally {
    await client.end();
  }
}

async function move(storage: Storage, from: string, to: string): Promise<void> {
  const [giver, taker] = await storage.get([from, to]);
  const amount = (entry: typeof giver, change: number) =>
    Buffer.from(String(Number(Buffer.from(entry?.value ?? [])) + change));
  const expected = new Map([
    [from, giver?.version],
    [to, taker?.version],
  ]);
  const writes = new Map([
    [from, amount(giver, -1)],
    [to, amount(taker, 1)],
  ]);
  await storage.commit({ expected, writes });
}

const codeOf = (error: unknown) =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : String(error);
