// What only the store in etcd promises: any number of servers at once, etcd's limits met with clear words, members that
// die and come back, users and TLS, and a watch that misses nothing.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import { isJsonArray, isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { EtcdCluster, METHOD } from "#server/storage/etcd/cluster.ts";
import { type EtcdServer, startEtcd } from "#server/storage/etcd/fixture.ts";
import { formatKey, gateKey } from "#server/storage/etcd/format.ts";
import { etcdKind } from "#server/storage/etcd/kind.ts";
import { commitRequest, compactRequest, leaseRequest, parseStatus, type Write } from "#server/storage/etcd/messages.ts";
import { parseEtcdOptions } from "#server/storage/etcd/options.ts";
import { Message } from "#server/storage/etcd/wire.ts";
import type { Storage } from "#server/storage/storage.ts";
import { createTestAuthority } from "#test/kit/tls-pair.ts";

const MIB = 1024 * 1024;
const shared = await startEtcd();
const opened: Storage[] = [];
const servers: EtcdServer[] = [];

afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close();
  for (const server of servers.splice(0)) await server.remove();
});

describe("etcd", () => {
  it("is installed in CI", () => {
    if (process.env["CI"] === "true") expect(shared).toBeDefined();
  });
});

async function start(...args: Parameters<typeof startEtcd>): Promise<EtcdServer> {
  const server = await startEtcd(...args);
  if (server === undefined) throw new Error("etcd is not installed");
  servers.push(server);
  return server;
}

type Addressed = Pick<EtcdServer, "addresses">;

const newPath = () => `t${randomBytes(6).toString("hex")}`;

async function openOn(server: Addressed, path: string, more: JsonObject = {}): Promise<Storage> {
  const config = { address: [...server.addresses], path, ...more };
  const storage = await etcdKind.open(config, { log: silentLog, clock: systemClock });
  opened.push(storage);
  return storage;
}

/** A call of etcd's own, past the storage. */
async function raw(server: Addressed, method: string, message: Message): Promise<Buffer> {
  const cluster = new EtcdCluster(parseEtcdOptions({ address: [...server.addresses] }, {}), systemClock);
  try {
    return await cluster.call(method, message, "write");
  } finally {
    cluster.close();
  }
}

/** A call of etcd's gateway, for what the storage never does. */
async function gateway(server: EtcdServer, path: string, body: JsonObject, token?: string): Promise<JsonObject> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: token };
  const response = await fetch(`${server.addresses[0]}/v3/${path}`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  const answer = parseJson(await response.text());
  if (!response.ok || !isJsonObject(answer)) throw new Error(`${path}: ${JSON.stringify(answer)}`);
  return answer;
}

const put = (storage: Storage, key: string, value: string | Uint8Array, version?: bigint | null) =>
  storage.commit({
    expected: version === null ? new Map() : new Map([[key, version]]),
    writes: new Map([[key, typeof value === "string" ? Buffer.from(value) : value]]),
  });

async function textOf(storage: Storage, key: string): Promise<string | undefined> {
  const [entry] = await storage.get([key]);
  return entry && Buffer.from(entry.value).toString();
}

async function increment(storage: Storage, key: string): Promise<void> {
  for (;;) {
    const [entry] = await storage.get([key]);
    const next = String(Number(entry === undefined ? 0 : Buffer.from(entry.value).toString()) + 1);
    if ((await put(storage, key, next, entry?.version)) === "committed") return;
  }
}

describe.skipIf(shared === undefined)("the store in etcd", () => {
  let server: EtcdServer;
  beforeAll(() => {
    if (shared === undefined) throw new Error("etcd is not installed");
    server = shared;
  });
  afterAll(() => shared?.remove());

  describe("several servers", () => {
    const openSeveral = (path: string, count: number) =>
      Promise.all(Array.from({ length: count }, () => openOn(server, path)));

    it("make the store at the same time and lose no update of a key they contend for", async () => {
      const storages = await openSeveral(newPath(), 4);
      const rounds = 20;
      await Promise.all(
        storages.map(async (storage) => {
          for (let i = 0; i < rounds; i++) await increment(storage, "counter");
        }),
      );
      expect(await textOf(storages[0] ?? (await openOn(server, "none")), "counter")).toBe(
        String(rounds * storages.length),
      );
    });

    it("never both write on the other's absence, with small read sets and with large ones", async () => {
      const [one, two] = await openSeveral(newPath(), 2);
      if (one === undefined || two === undefined) throw new Error("no storage");
      for (const others of [0, 300]) {
        const read = Array.from({ length: others }, (_, i): [string, undefined] => [`other/${i}`, undefined]);
        for (let round = 0; round < 15; round++) {
          const [left, right] = [`left/${others}/${round}`, `right/${others}/${round}`];
          const claim = (storage: Storage, mine: string, theirs: string) =>
            storage.commit({
              expected: new Map([...read, [theirs, undefined]]),
              writes: new Map([[mine, Buffer.from("1")]]),
            });
          const results = await Promise.all([claim(one, left, right), claim(two, right, left)]);
          expect(results.toSorted()).toEqual(["committed", "conflict"]);
        }
      }
    });

    it("tell each other which keys changed, and not their own", async () => {
      const [one, two] = await openSeveral(newPath(), 2);
      if (one === undefined || two === undefined) throw new Error("no storage");
      const [toldOne, toldTwo] = [new Set<string>(), new Set<string>()];
      const into = (told: Set<string>) => (keys: readonly string[] | "all") => {
        for (const key of keys === "all" ? [keys] : keys) told.add(key);
      };
      using _one = one.watch(into(toldOne));
      using _two = two.watch(into(toldTwo));
      await expect.poll(() => [...toldOne, ...toldTwo]).toEqual(["all", "all"]);
      for (let i = 0; i < 30; i++) await put(one, `a/${i}`, "1", null);
      await put(one, "a/😀", "1", null);
      await put(two, "b", "1", null);
      await expect.poll(() => toldTwo.has("a/😀") && toldOne.has("b"), { timeout: 10_000 }).toBe(true);
      expect([...toldOne]).toEqual(["all", "b"]);
      expect(toldTwo.size).toBe(32);
    });
  });

  describe("etcd's limits", () => {
    it("are met before a request is sent: one that is too large leaves the others alone", async () => {
      const storage = await openOn(server, newPath());
      await put(storage, "a", Buffer.alloc(1.3 * MIB, 1), null);
      const refused = { code: "too_large", message: expect.stringContaining("--max-request-bytes") };
      await expect(put(storage, "a", Buffer.alloc(1.5 * MIB, 2), null)).rejects.toMatchObject(refused);
      const two = new Map(["b", "c"].map((key) => [key, Buffer.alloc(0.8 * MIB)]));
      await expect(storage.commit({ expected: new Map(), writes: two })).rejects.toMatchObject(refused);
      expect((await storage.get(["a", "b"])).map((entry) => entry?.value[9])).toEqual([1, undefined]);
    });

    it("allow more than the default when both sides are told", async () => {
      const large = await start(["--max-request-bytes", String(8 * MIB)]);
      const storage = await openOn(large, newPath(), { max_request_bytes: 8 * MIB });
      await put(storage, "a", Buffer.alloc(7 * MIB, 3), null);
      expect((await storage.get(["a"]))[0]?.value.length).toBe(7 * MIB);
      // This side told alone: the members refuse.
      const wrong = await openOn(server, newPath(), { max_request_bytes: 8 * MIB });
      await expect(put(wrong, "a", Buffer.alloc(1.7 * MIB), null)).rejects.toMatchObject({
        code: "too_large",
        message: expect.stringContaining("--max-request-bytes"),
      });
    });

    it("on operations are named when they are below the default", async () => {
      const small = await start(["--max-txn-ops", "8"]);
      const storage = await openOn(small, newPath());
      const writes = new Map(Array.from({ length: 9 }, (_, i) => [`k${i}`, Buffer.from("1")]));
      await expect(storage.commit({ expected: new Map(), writes })).rejects.toMatchObject({
        code: "too_large",
        message: expect.stringContaining("--max-txn-ops"),
      });
    });

    it("on operations do not limit a commit: thousands of writes are one", async () => {
      const storage = await openOn(server, newPath());
      const writes = new Map(Array.from({ length: 4_000 }, (_, i) => [`k/${i}`, Buffer.from(String(i))]));
      expect(await storage.commit({ expected: new Map([["k", undefined]]), writes })).toBe("committed");
      const entries = await storage.get([...writes.keys()]);
      expect(new Set(entries.map((entry) => entry?.version)).size).toBe(1);
      expect(await storage.list("", { limit: 5 })).toEqual(["k/"]);
    });

    it("on the database's size stop writes with clear words; reads go on, and it recovers", async () => {
      const full = await start(["--quota-backend-bytes", String(24 * MIB)]);
      const storage = await openOn(full, newPath());
      await put(storage, "kept", "1", null);
      const failure = await (async () => {
        for (let i = 0; i < 60; i++) await put(storage, "filler", randomBytes(MIB), null);
      })().catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: "unavailable", message: expect.stringContaining("--quota-backend-bytes") });
      expect(await textOf(storage, "kept")).toBe("1");
      await expect(put(storage, "kept", "2", null)).rejects.toMatchObject({ code: "unavailable" });
      await recoverSpace(full);
      expect(await put(storage, "kept", "2", null)).toBe("committed");
    });
  });

  describe("history", () => {
    it("is forgotten after a while, which a user of one prefix may bring about, too", async () => {
      const guarded = await start();
      const user = { username: "coffer", password: randomBytes(9).toString("base64") };
      await createUsers(guarded, user, "mine/");
      const storage = await openOn(guarded, "mine", { ...user, compaction: "1s" });
      await put(storage, "a", "1", null);
      const [entry] = await storage.get(["a"]);
      const { token } = await gateway(guarded, "auth/authenticate", { name: user.username, password: user.password });
      const old = { key: Buffer.from("mine/kv/a").toString("base64"), revision: String(entry?.version) };
      const look = () => gateway(guarded, "kv/range", old, String(token)).catch((error: unknown) => messageOf(error));
      expect(await look()).toMatchObject({ count: "1" });
      const writer = (async () => {
        for (let i = 0; i < 30; i++) {
          await put(storage, "a", String(i), null);
          await systemClock.sleep(100);
        }
      })();
      await expect.poll(look, { timeout: 10_000 }).toContain("has been compacted");
      await writer;
      expect(await textOf(storage, "a")).toBe("29");
    });
  });

  describe("a commit behind the gate", () => {
    const wide = (count: number) =>
      new Map(Array.from({ length: count }, (_, i): [string, undefined] => [`absent/${i}`, undefined]));

    it("loses no update of others", async () => {
      const path = newPath();
      const storages = await Promise.all([openOn(server, path), openOn(server, path)]);
      const rounds = 15;
      const widely = async (storage: Storage) => {
        for (let done = 0; done < rounds; ) {
          const [entry] = await storage.get(["counter"]);
          const next = Buffer.from(String(Number(entry === undefined ? 0 : Buffer.from(entry.value).toString()) + 1));
          const expected = new Map<string, bigint | undefined>([...wide(200), ["counter", entry?.version]]);
          if ((await storage.commit({ expected, writes: new Map([["counter", next]]) })) === "committed") done++;
        }
      };
      const narrowly = async (storage: Storage) => {
        for (let i = 0; i < rounds; i++) await increment(storage, "counter");
      };
      await Promise.all(storages.flatMap((storage) => [widely(storage), narrowly(storage)]));
      expect(await textOf(await openOn(server, path), "counter")).toBe(String(4 * rounds));
    });

    it("that its server never finished holds the others up for the lease's time only", async () => {
      const path = newPath();
      const storage = await openOn(server, path);
      await raw(server, METHOD.lease, leaseRequest(77, 2));
      const writes: Write[] = [[gateKey(`${path}/`), Buffer.from("77"), 77]];
      await raw(server, METHOD.txn, commitRequest({ comparisons: [], writes }));
      const before = systemClock.now();
      expect(await put(storage, "a", "1", null)).toBe("committed");
      expect(systemClock.now() - before).toBeGreaterThan(1_000);
    });
  });

  describe("the watch", () => {
    it("goes on where it was after a break, and says all when that has been compacted", async () => {
      const path = newPath();
      const line = await openLine(server);
      const watcher = await openOn({ addresses: [line.address] }, path, { sync: "false" });
      const told: (string | readonly string[])[] = [];
      using _watch = watcher.watch((keys) => told.push(keys));
      await expect.poll(() => told).toEqual(["all"]);
      const write = (key: string) => {
        const writes: Write[] = [[Buffer.from(`${path}/kv/${key}`), Buffer.from("1")]];
        return raw(server, METHOD.txn, commitRequest({ comparisons: [], writes }));
      };
      await write("a");
      await expect.poll(() => told).toEqual(["all", ["a"]]);
      line.cut();
      await write("b");
      await line.mend();
      await expect.poll(() => told, { timeout: 10_000 }).toEqual(["all", ["a"], ["b"]]);
      line.cut();
      await write("c");
      await write("c");
      const { revision } = parseStatus(await raw(server, METHOD.status, new Message()));
      await raw(server, METHOD.compact, compactRequest(revision));
      await line.mend();
      await expect.poll(() => told.slice(3), { timeout: 10_000 }).toEqual(["all"]);
      await write("d");
      await expect.poll(() => told.at(-1)).toEqual(["d"]);
      await watcher.close();
      line.cut();
    });
  });

  describe("members that die", () => {
    it("are left for others; without a majority nothing is answered, and nothing acknowledged is lost", async () => {
      const three = await start([], 3);
      const storage = await openOn(three, newPath(), { request_timeout: "2s" });
      let [acknowledged, stopped] = [0, false];
      const failures = new Set<string>();
      const writer = (async () => {
        for (let i = 0; !stopped; i++) {
          const result = await put(storage, `w/${i}`, "1", null).catch((error: { code: string }) => error.code);
          if (result !== "committed") failures.add(result);
          else acknowledged++;
        }
      })();
      for (let member = 0; member < 3; member++) {
        await three.kill9(member);
        const before = acknowledged;
        await expect.poll(() => acknowledged, { timeout: 20_000 }).toBeGreaterThan(before + 20);
        await three.start(member);
      }
      await three.kill9(0);
      await three.kill9(1);
      await expect
        .poll(() => put(storage, "x", "1", null).catch((error: { code: string }) => error.code), { timeout: 20_000 })
        .toBe("unavailable");
      await expect(storage.get(["x"])).rejects.toMatchObject({ code: "unavailable" });
      await three.start(0);
      const before = acknowledged;
      await expect.poll(() => acknowledged, { timeout: 30_000 }).toBeGreaterThan(before + 20);
      stopped = true;
      await writer;
      expect(["unavailable", "unconfirmed"]).toEqual(expect.arrayContaining([...failures]));
      expect(failures.size).toBeGreaterThan(0);
      expect((await storage.scan({ from: "w/", to: "w0", limit: 1e9 })).length).toBeGreaterThanOrEqual(acknowledged);
    });

    it("are left when they only hang", async () => {
      const three = await start([], 3);
      const storage = await openOn(three, newPath(), { request_timeout: "2s" });
      for (let member = 0; member < 3; member++) {
        process.kill(three.pid(member), "SIGSTOP");
        await expect
          .poll(() => put(storage, "a", "1", null).catch(() => "not yet"), { timeout: 20_000 })
          .toBe("committed");
        process.kill(three.pid(member), "SIGCONT");
      }
    });
  });

  describe("a cluster that cannot be used", () => {
    it("is refused when the format is newer or the data another program's", async () => {
      const set = (key: Buffer, value: string) =>
        raw(server, METHOD.txn, commitRequest({ comparisons: [], writes: [[key, Buffer.from(value)]] }));
      await set(formatKey("newer/"), '{"format":"coffer","version":2}');
      const newer = { code: "invalid_request", message: expect.stringContaining("use a newer one") };
      await expect(openOn(server, "newer")).rejects.toMatchObject(newer);
      const foreign = { code: "invalid_request", message: expect.stringContaining("another program's") };
      await set(Buffer.from("vault/core/lock"), "x");
      await expect(openOn(server, "vault")).rejects.toMatchObject(foreign);
      await set(formatKey("else/"), "nonsense");
      await expect(openOn(server, "else")).rejects.toMatchObject(foreign);
    });

    it("is unavailable when nobody listens there, or something else does", async () => {
      const open = (address: string) => etcdKind.open({ address }, { log: silentLog, clock: systemClock });
      await expect(open("http://127.0.0.1:1")).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringContaining("127.0.0.1:1"),
      });
    });
  });

  describe("users and TLS", () => {
    it("a token that has run out or was lost is asked for again; a wrong password is named", async () => {
      const guarded = await start();
      const user = { username: "coffer", password: randomBytes(9).toString("base64") };
      await createUsers(guarded, user, "mine/");
      const storage = await openOn(guarded, "mine", user);
      await put(storage, "a", "1", null);
      await guarded.kill9();
      await guarded.start();
      await expect.poll(() => textOf(storage, "a").catch(() => "not yet")).toBe("1");
      expect(await put(storage, "a", "2", null)).toBe("committed");
      const refused = { code: "invalid_request", message: expect.stringContaining("storage.username") };
      await expect(openOn(guarded, "mine", { ...user, password: "wrong" })).rejects.toMatchObject(refused);
      await expect(openOn(guarded, "mine")).rejects.toMatchObject(refused);
      await expect(openOn(guarded, "theirs", user)).rejects.toMatchObject(refused);
    });

    it("certificates of both sides are checked", async () => {
      const authority = await createTestAuthority();
      const folder = await mkdtemp(join(tmpdir(), "coffer-etcd-tls-"));
      try {
        const file = async (name: string, pem: string) => {
          await writeFile(join(folder, name), pem, { mode: 0o600 });
          return join(folder, name);
        };
        const [own, client] = [await authority.server("etcd"), await authority.client("coffer")];
        const ca = await file("ca.pem", authority.cert);
        const [cert, key] = [await file("cert.pem", own.cert), await file("key.pem", own.key)];
        const flags = ["--cert-file", cert, "--key-file", key, "--client-cert-auth", "--trusted-ca-file", ca];
        const secured = await start(flags, 1, "https");
        const tls = {
          tls_ca_file: ca,
          tls_cert_file: await file("client.pem", client.cert),
          tls_key_file: await file("client-key.pem", client.key),
        };
        const storage = await openOn(secured, newPath(), tls);
        expect(await put(storage, "a", "1", null)).toBe("committed");
        const unavailable = { code: "unavailable" };
        await expect(openOn(secured, newPath(), { tls_ca_file: ca })).rejects.toMatchObject(unavailable);
        const stranger = await file("other.pem", (await createTestAuthority()).cert);
        await expect(openOn(secured, newPath(), { ...tls, tls_ca_file: stranger })).rejects.toMatchObject(unavailable);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  });
});

/** What an operator does about a full database. */
async function recoverSpace(server: EtcdServer): Promise<void> {
  const { revision } = parseStatus(await raw(server, METHOD.status, new Message()));
  await raw(server, METHOD.compact, compactRequest(revision));
  await gateway(server, "maintenance/defragment", {});
  const { alarms } = await gateway(server, "maintenance/alarm", { action: "GET" });
  for (const alarm of isJsonArray(alarms) ? alarms : [])
    if (isJsonObject(alarm)) await gateway(server, "maintenance/alarm", { ...alarm, action: "DEACTIVATE" });
}

/** etcd's root, and a user who may use one prefix. */
async function createUsers(
  server: EtcdServer,
  user: { username: string; password: string },
  prefix: string,
): Promise<void> {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const permission = { permType: "READWRITE", key: base64(prefix), range_end: base64(`${prefix.slice(0, -1)}0`) };
  await gateway(server, "auth/role/add", { name: "store" });
  await gateway(server, "auth/role/grant", { name: "store", perm: permission });
  await gateway(server, "auth/user/add", { name: user.username, password: user.password });
  await gateway(server, "auth/user/grant", { user: user.username, role: "store" });
  await gateway(server, "auth/user/add", { name: "root", password: randomBytes(9).toString("hex") });
  await gateway(server, "auth/role/add", { name: "root" });
  await gateway(server, "auth/user/grant", { user: "root", role: "root" });
  await gateway(server, "auth/enable", {});
}

interface Line {
  readonly address: string;
  /** Ends every connection and takes no new ones. */
  cut(): void;
  mend(): Promise<void>;
}

/** A way to the first member that can be cut. */
async function openLine(server: Addressed): Promise<Line> {
  const target = Number(new URL(server.addresses[0] ?? "").port);
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  };
  const listener = createServer((socket) => {
    const onward = createConnection(target, "127.0.0.1");
    keep(socket);
    keep(onward);
    socket.pipe(onward).pipe(socket);
  });
  let port = 0;
  const mend = async () => {
    listener.listen(port, "127.0.0.1");
    await once(listener, "listening");
    const address = listener.address();
    port = typeof address === "object" && address !== null ? address.port : 0;
  };
  await mend();
  const cut = () => {
    listener.close();
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  return { address: `http://127.0.0.1:${port}`, cut, mend };
}
