// The store in an etcd whose members change, whose users' tokens run out, and whose database fills up: found without a
// restart, asked for again, told before and after.
import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "#common/clock.ts";
import { isJsonArray, isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { createLog } from "#common/log.ts";
import { type EtcdServer, startEtcd } from "#server/storage/etcd/fixture.ts";
import { etcdKind } from "#server/storage/etcd/kind.ts";
import type { Storage } from "#server/storage/storage.ts";

const MIB = 1024 * 1024;
const opened: Storage[] = [];
const servers: EtcdServer[] = [];
const lines: string[] = [];
const first = await startEtcd([], 3);
if (first !== undefined) servers.push(first);

afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close();
  for (const server of servers.splice(0)) await server.remove();
  lines.length = 0;
});

async function start(...args: Parameters<typeof startEtcd>): Promise<EtcdServer> {
  const server = await startEtcd(...args);
  if (server === undefined) throw new Error("etcd is not installed");
  servers.push(server);
  return server;
}

async function open(addresses: readonly string[], more: JsonObject = {}, clock: Clock = systemClock): Promise<Storage> {
  const log = createLog({ level: "info", format: "text", write: (line) => lines.push(line), now: () => clock.now() });
  const storage = await etcdKind.open({ address: [...addresses], path: "store", ...more }, { log, clock });
  opened.push(storage);
  return storage;
}

const put = (storage: Storage, key: string, value: string | Buffer = "1") =>
  storage.commit({ expected: new Map(), writes: new Map([[key, Buffer.from(value)]]) });
const committed = (storage: Storage, key: string) =>
  expect.poll(() => put(storage, key).catch(() => "not yet"), { timeout: 20_000 }).toBe("committed");

async function gateway(server: EtcdServer, path: string, body: JsonObject): Promise<JsonObject> {
  const response = await fetch(`${server.addresses[0]}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
  const answer = parseJson(await response.text());
  if (!response.ok || !isJsonObject(answer)) throw new Error(`${path}: ${JSON.stringify(answer)}`);
  return answer;
}

describe.skipIf(first === undefined)("the store in an etcd cluster", () => {
  it("finds members that it was not told of, and those that replace others", async () => {
    if (first === undefined) throw new Error("etcd is not installed");
    const cluster = first;
    const storage = await open([cluster.addresses[0] ?? ""], { request_timeout: "2s" });
    await put(storage, "a");
    await expect.poll(() => lines.join("")).toContain(cluster.addresses[2] ?? "none");
    await cluster.kill9(0);
    await committed(storage, "b");
    // The only one that the configuration names is replaced, then the others die in turn.
    await cluster.leave(0);
    await cluster.join();
    await expect.poll(() => cluster.addresses.length).toBe(4);
    await cluster.kill9(1);
    await committed(storage, "c");
    await cluster.start(1);
    await cluster.kill9(2);
    await committed(storage, "d");
    await expect.poll(() => lines.join("")).toContain(cluster.addresses[3] ?? "none");
    expect((await storage.get(["a", "b", "c", "d"])).every((entry) => entry !== undefined)).toBe(true);
  });

  it("answers within its deadline when there is no majority, and goes on when there is one", async () => {
    const cluster = await start([], 3);
    const storage = await open(cluster.addresses, { request_timeout: "2s" });
    await put(storage, "a");
    await cluster.kill9(0);
    await cluster.kill9(1);
    for (const call of [() => put(storage, "b"), () => storage.get(["a"]), () => storage.list("", { limit: 9 })]) {
      const began = systemClock.now();
      await expect(call()).rejects.toMatchObject({ status: 503 });
      expect(systemClock.now() - began).toBeLessThan(5_000);
    }
    await cluster.start(0);
    await committed(storage, "c");
    expect((await storage.get(["a"]))[0]).toBeDefined();
  });

  it("asks for a new token when the old one has run out", async () => {
    const guarded = await start(["--auth-token-ttl", "1"]);
    const user = { username: "coffer", password: randomBytes(9).toString("base64") };
    await createUsers(guarded, user);
    const storage = await open(guarded.addresses, user);
    for (let i = 0; i < 3; i++) {
      expect(await put(storage, `${i}`)).toBe("committed");
      await systemClock.sleep(3_200);
      expect((await storage.get([`${i}`]))[0]).toBeDefined();
      await systemClock.sleep(3_200);
    }
  });

  it("tells its size, warns before the database is full, and says when it is, until it is not", async () => {
    const small = await start(["--quota-backend-bytes", String(24 * MIB)]);
    // A minute of the housekeeping takes a moment here.
    const hasty: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms >= 60_000 ? 100 : ms, signal) };
    const quota = { quota_backend_bytes: 24 * MIB };
    const storage = await open(small.addresses, { compaction: "0s", ...quota }, hasty);
    expect(storage.usage?.()).toMatchObject({ trouble: undefined, limitBytes: 24 * MIB });
    for (let i = 0; i < 12; i++) await put(storage, "filler", randomBytes(MIB));
    await expect.poll(() => storage.usage?.()?.sizeBytes ?? 0).toBeGreaterThan(12 * MIB);
    const failure: unknown = await (async () => {
      for (let i = 0; i < 40; i++) await put(storage, "filler", randomBytes(MIB));
    })().catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "unavailable" });
    expect(storage.usage?.()?.trouble).toContain("full, so nothing is written");
    await expect.poll(() => lines.join("")).toContain("nearly full");
    const { header } = await gateway(small, "kv/range", { key: "AA==" });
    const revision = isJsonObject(header) ? header["revision"] : undefined;
    await gateway(small, "kv/compaction", { revision: revision ?? "1", physical: true });
    await gateway(small, "maintenance/defragment", {});
    const { alarms } = await gateway(small, "maintenance/alarm", { action: "GET" });
    for (const alarm of isJsonArray(alarms) ? alarms : [])
      if (isJsonObject(alarm)) await gateway(small, "maintenance/alarm", { ...alarm, action: "DEACTIVATE" });
    await committed(storage, "again");
    await expect.poll(() => storage.usage?.()?.trouble, { timeout: 10_000 }).toBeUndefined();
    await expect.poll(() => storage.usage?.()?.sizeBytes ?? Number.NaN, { timeout: 10_000 }).toBeLessThan(6 * MIB);
  });
});

/** etcd's root, and a user who may use the store's prefix. */
async function createUsers(server: EtcdServer, user: { username: string; password: string }): Promise<void> {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const permission = { permType: "READWRITE", key: base64("store/"), range_end: base64("store0") };
  await gateway(server, "auth/role/add", { name: "store" });
  await gateway(server, "auth/role/grant", { name: "store", perm: permission });
  await gateway(server, "auth/user/add", { name: user.username, password: user.password });
  await gateway(server, "auth/user/grant", { user: user.username, role: "store" });
  await gateway(server, "auth/user/add", { name: "root", password: randomBytes(9).toString("hex") });
  await gateway(server, "auth/role/add", { name: "root" });
  await gateway(server, "auth/user/grant", { user: "root", role: "root" });
  await gateway(server, "auth/enable", {});
}
