// Snapshots of real servers: taken, looked at, put back, refused; with the command line as people use it.
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createApiClient } from "#client/api-client.ts";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { openLmdbStorage } from "#server/storage/lmdb/lmdb-storage.ts";
import { encodeRestore, RESTORE_KEY } from "#server/storage/restore-record.ts";
import { type ShamirServer, startServer, startShamirServer, untilUnsealed, writeConfig } from "#test/kit/server.ts";
import { cli } from "#test/run-cli.ts";

let folder: string;
let one: ShamirServer;
let other: ShamirServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-snapshots-"));
  [one, other] = await Promise.all([startShamirServer(), startShamirServer()]);
  for (const server of [one, other])
    await call(server, "POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
});
afterAll(async () => {
  await Promise.all([one, other].map((server) => server?.stop()));
  await rm(folder, { recursive: true, force: true });
});

async function call(server: ShamirServer, method: string, path: string, body?: unknown, token = server.rootToken) {
  const response = await fetch(`${server.address}/v1/${path}`, {
    method,
    headers: { "X-Vault-Token": token },
    ...(body !== undefined && { body: body instanceof Uint8Array ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = text.startsWith("{") ? JSON.parse(text) : {};
  return { status: response.status, data: json.data, error: String(json.errors?.[0] ?? "") };
}

const put = (server: ShamirServer, name: string, value: string) =>
  call(server, "POST", `secret/data/${name}`, { data: { value } });
const get = async (server: ShamirServer, name: string, token?: string) =>
  (await call(server, "GET", `secret/data/${name}`, undefined, token)).data?.data?.value;

async function take(server: ShamirServer, path = "sys/storage/raft/snapshot"): Promise<Uint8Array> {
  const response = await fetch(`${server.address}/v1/${path}`, { headers: { "X-Vault-Token": server.rootToken } });
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/gzip"]);
  return new Uint8Array(await response.arrayBuffer());
}

const client = (server: ShamirServer) =>
  createApiClient({ address: server.address, token: server.rootToken, clock: systemClock });

describe("a snapshot of a server", () => {
  it("brings back what was changed, removed and added since, and the server goes on without being unsealed", async () => {
    for (const name of ["kept", "changed", "removed"]) await put(one, name, "old");
    const snapshot = await take(one);
    await put(one, "changed", "new");
    await put(one, "added", "new");
    await call(one, "DELETE", "secret/metadata/removed");
    const restored = await call(one, "POST", "sys/storage/raft/snapshot", snapshot);
    expect(restored).toMatchObject({ status: 204 });
    const found = await Promise.all(["kept", "changed", "removed", "added"].map((name) => get(one, name)));
    expect(found).toEqual(["old", "old", "old", undefined]);
    await put(one, "after", "works");
    expect(await get(one, "after")).toBe("works");
  });

  it("of before the keys of its values were retired brings them back, and they can be retired again", async () => {
    const terms = async () => {
      const { data } = await call(one, "GET", "sys/rotate/terms");
      return (data.terms as { term: number }[]).map(({ term }) => term);
    };
    const retire = async () => {
      await call(one, "POST", "sys/sealwrap/rewrap");
      const tried = () => call(one, "POST", "sys/rotate/retire").then(({ status }) => status);
      await expect.poll(tried, { timeout: 20_000, interval: 200 }).toBe(200);
    };
    await put(one, "before", "old");
    const [first = 0] = await terms();
    const snapshot = await take(one);
    await call(one, "POST", "sys/rotate");
    await put(one, "before", "new");
    const later = await take(one);
    await retire();
    expect(await terms()).toEqual([first + 1]);

    const item = (bytes: Uint8Array) =>
      call(one, "POST", "sys/storage/snapshot-read?kind=kv&path=secret/before", bytes);
    expect((await item(snapshot)).data.records["data/before/1"]).toMatchObject({ value: "old" });
    expect((await item(later)).data.records["data/before/2"]).toMatchObject({ value: "new" });
    expect(await terms()).toEqual([first + 1]);

    // One snapshot is wholly under the retired term; the other one was taken before everything was encrypted anew.
    for (const [bytes, value] of [
      [snapshot, "old"],
      [later, "new"],
    ] as const) {
      expect(await call(one, "POST", "sys/storage/snapshot", bytes)).toMatchObject({ status: 204 });
      expect(await get(one, "before")).toBe(value);
      expect(await terms()).toEqual([first, first + 1]);
      expect((await call(one, "POST", "sys/rotate/retire")).error).toMatch(/something may still be under term/);
      await retire();
      expect(await terms()).toEqual([first + 1]);
      expect(await get(one, "before")).toBe(value);
    }
  });

  it("is refused when it was changed, cut, or is another cluster's, and nothing happens", async () => {
    await put(one, "kept", "mine");
    const snapshot = await take(one);
    const flipped = snapshot.with(snapshot.length - 40, (snapshot.at(-40) ?? 0) ^ 1);
    for (const bytes of [flipped, snapshot.subarray(0, -100), new Uint8Array(10), await take(other)]) {
      const refused = await call(one, "POST", "sys/storage/snapshot", bytes);
      expect(refused.status, refused.error).toBe(400);
    }
    expect(await get(one, "kept")).toBe("mine");
  });

  it("is taken and restored only by who may", async () => {
    const policy = 'path "sys/storage/*" { capabilities = ["read", "update"] }';
    await call(one, "PUT", "sys/policies/acl/backup", { policy });
    const made = await fetch(`${one.address}/v1/auth/token/create`, {
      method: "POST",
      headers: { "X-Vault-Token": one.rootToken },
      body: JSON.stringify({ policies: ["backup"] }),
    });
    const { auth } = (await made.json()) as { auth: { client_token: string } };
    const snapshot = await take(one);
    expect((await call(one, "POST", "sys/storage/snapshot", snapshot, auth.client_token)).status).toBe(403);
    expect((await call(one, "POST", "sys/storage/snapshot", snapshot, "")).status).toBe(403);
    expect((await call(one, "GET", "sys/storage/snapshot", undefined, "")).status).toBe(403);
    const response = await fetch(`${one.address}/v1/sys/storage/snapshot`, {
      headers: { "X-Vault-Token": auth.client_token },
    });
    expect(response.status).toBe(200);
    await response.arrayBuffer();
  });

  it("of another cluster replaces everything by force; the store then opens by that cluster's keys", async () => {
    await put(one, "whose", "one's");
    await put(other, "whose", "other's");
    const snapshot = await take(one, "sys/storage/snapshot");
    expect((await call(other, "POST", "sys/storage/snapshot-force", snapshot)).status).toBe(204);
    expect((await call(other, "GET", "sys/seal-status")).status).toBe(200);
    expect((await call(other, "GET", "secret/data/whose")).status).toBe(503);
    expect((await call(other, "POST", "sys/unseal", { key: other.unsealKey })).status).toBe(400);
    expect((await call(other, "POST", "sys/unseal", { key: one.unsealKey })).status).toBe(200);
    expect(await get(other, "whose", one.rootToken)).toBe("one's");
  });

  it("is tried by the server without changing anything", async () => {
    const snapshot = await take(one);
    const found = await call(one, "POST", "sys/storage/snapshot-verify", snapshot);
    expect(found.status, found.error).toBe(200);
    expect(found.data.entries).toBeGreaterThan(found.data.decrypted);
    expect(found.data.decrypted).toBeGreaterThan(20);
    const foreign = await startShamirServer();
    try {
      expect((await call(one, "POST", "sys/storage/snapshot-verify", await take(foreign))).status).toBe(400);
    } finally {
      await foreign.stop();
    }
  });
});

describe("the client", () => {
  it("streams in both directions and tells why it was refused", async () => {
    using api = client(one);
    const chunks = await Array.fromAsync(api.download("sys/storage/snapshot"));
    const file = join(folder, "s.snap");
    await writeFile(file, Buffer.concat(chunks));
    expect((await stat(file)).size).toBeGreaterThan(1000);
    const bytes = await readFile(file);
    const send = async function* (content: Uint8Array) {
      yield content;
    };
    expect(await api.upload("sys/storage/snapshot-verify", send(bytes))).toMatchObject({
      decrypted: expect.anything(),
    });
    await expect(api.upload("sys/storage/snapshot", send(bytes.subarray(10)))).rejects.toMatchObject({ status: 400 });
    await expect(Array.fromAsync(api.with({ token: "none" }).download("sys/storage/snapshot"))).rejects.toMatchObject({
      status: 403,
    });
  });
});

describe("a restore that was interrupted", () => {
  it("leaves a store that nobody serves until it is done again from the command line", async () => {
    const home = await mkdtemp(join(folder, "interrupted-"));
    const seal = { static: { current_key: Buffer.alloc(32, 3).toString("base64"), current_key_id: "k" } };
    const config = `-config=${await writeConfig(home, { seal })}`;
    let server = await startServer([config]);
    const init = await fetch(`${server.address}/v1/sys/init`, {
      method: "POST",
      body: JSON.stringify({ recovery_shares: 1, recovery_threshold: 1 }),
    });
    const { root_token: rootToken } = (await init.json()) as { root_token: string };
    await untilUnsealed(server);
    const headers = { "X-Vault-Token": rootToken };
    const taken = await fetch(`${server.address}/v1/sys/storage/snapshot`, { headers });
    const file = join(home, "s.snap");
    await writeFile(file, new Uint8Array(await taken.arrayBuffer()));
    await server.stop();

    const storage = await openLmdbStorage({ path: join(home, "data"), log: silentLog, clock: systemClock });
    const mark = encodeRestore({ run: "r", snapshot: "s", begun: 0 });
    await storage.commit({ expected: new Map(), writes: new Map([[RESTORE_KEY, mark]]) });
    await storage.close();
    server = await startServer([config]);
    const health = await fetch(`${server.address}/v1/sys/health`);
    expect(health.status).not.toBe(200);
    expect((await fetch(`${server.address}/v1/sys/mounts`, { headers })).status).toBe(503);
    expect((await fetch(`${server.address}/v1/sys/init`, { method: "POST", body: "{}" })).status).not.toBe(200);
    await server.stop();

    server = await startServer([config, `-restore=${file}`]);
    await untilUnsealed(server);
    expect((await fetch(`${server.address}/v1/sys/mounts`, { headers })).status).toBe(200);
    await server.stop();
  });
});

describe("one item of a snapshot", () => {
  const item = (what: string, kind: string, path: string, snapshot: Uint8Array, token?: string) =>
    call(one, "POST", `sys/storage/snapshot-${what}?kind=${kind}&path=${encodeURIComponent(path)}`, snapshot, token);

  it("is read and brought back: a secret with all its versions, while the others stay", async () => {
    for (const value of ["1", "2", "3"]) await put(one, "item/a", value);
    await put(one, "item/b", "old");
    const snapshot = await take(one);
    await put(one, "item/a", "4");
    await put(one, "item/b", "new");
    const read = await item("read", "kv", "secret/item/a", snapshot);
    expect(read.data?.records, read.error).toMatchObject({
      "data/item/a/3": { value: "3" },
      "key/item/a": { current: 3 },
    });
    expect((await item("recover", "kv", "secret/item/a", snapshot)).data).toMatchObject({ records: 4 });
    expect([await get(one, "item/a"), await get(one, "item/b")]).toEqual(["3", "new"]);
    expect((await call(one, "GET", "secret/data/item/a?version=1")).data.data.value).toBe("1");
    expect((await call(one, "GET", "secret/data/item/a?version=4")).status).toBe(404);
    await put(one, "item/a", "4 again");
    expect(await get(one, "item/a")).toBe("4 again");
    expect((await item("read", "kv", "secret/none", snapshot)).status).toBe(404);
    expect((await item("read", "thing", "x", snapshot)).status).toBe(400);
  });

  it("is a policy or a mount that is gone", async () => {
    const policy = 'path "secret/data/gone" { capabilities = ["read"] }';
    await call(one, "PUT", "sys/policies/acl/gone", { policy });
    await call(one, "POST", "sys/mounts/gone", { type: "kv", options: { version: "1" }, description: "kept" });
    await call(one, "POST", "gone/x", { value: "inside" });
    const snapshot = await take(one);
    await call(one, "DELETE", "sys/policies/acl/gone");
    await call(one, "DELETE", "sys/mounts/gone");
    expect((await item("recover", "policy", "gone", snapshot)).status).toBe(200);
    expect((await call(one, "GET", "sys/policies/acl/gone")).data.policy).toBe(policy);
    const back = await item("recover", "mount", "gone", snapshot);
    expect(back, back.error).toMatchObject({ status: 200, data: { records: 1 } });
    expect((await call(one, "GET", "gone/x")).data.value).toBe("inside");
    expect((await item("recover", "mount", "gone", snapshot)).status).toBe(400);
  });

  it("is in a namespace, also in one that was made anew since", async () => {
    const inside = (method: string, path: string, body?: unknown) => call(one, method, `team/${path}`, body);
    const make = async () => {
      expect((await call(one, "PUT", "sys/namespaces/team", {})).status).toBe(200);
      await inside("POST", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
    };
    const of = (what: string, kind: string, path: string, snapshot: Uint8Array) =>
      call(one, "POST", `sys/storage/snapshot-${what}?kind=${kind}&namespace=team&path=${path}`, snapshot);
    const policy = 'path "kv/data/a" { capabilities = ["read"] }';
    await make();
    await inside("POST", "kv/data/a", { data: { value: "old" } });
    await inside("PUT", "sys/policies/acl/reader", { policy });
    await inside("POST", "sys/mounts/gone", { type: "kv", options: { version: "1" } });
    await inside("POST", "gone/x", { value: "inside" });
    const snapshot = await take(one);
    await call(one, "DELETE", "sys/namespaces/team");
    await expect
      .poll(async () => (await call(one, "GET", "sys/namespaces/team")).status, { timeout: 20_000 })
      .toBe(404);
    expect((await of("read", "kv", "kv/a", snapshot)).data).toMatchObject({
      records: { "data/a/1": { value: "old" } },
    });
    expect(await of("recover", "kv", "kv/a", snapshot)).toMatchObject({ status: 404 });
    await make();
    for (const [kind, path] of Object.entries({ kv: "kv/a", policy: "reader", mount: "gone" })) {
      const back = await of("recover", kind, path, snapshot);
      expect(back.status, back.error).toBe(200);
    }
    expect((await inside("GET", "kv/data/a")).data.data.value).toBe("old");
    expect((await inside("GET", "sys/policies/acl/reader")).data.policy).toBe(policy);
    expect((await inside("GET", "gone/x")).data.value).toBe("inside");
    expect((await call(one, "GET", "sys/policies/acl/reader")).status).toBe(404);
    const none = await call(one, "POST", "sys/storage/snapshot-read?kind=kv&namespace=none&path=kv/a", snapshot);
    expect([none.status, none.error]).toEqual([404, "the snapshot has no namespace none/"]);
  });

  it("is a policy with its end and what it asks of writers, also over one that wants its version named", async () => {
    const policy = 'path "secret/data/ends" { capabilities = ["read"] }';
    const written = { policy, expiration: "2099-01-01T00:00:00Z", cas_required: true, cas: -1 };
    expect((await call(one, "PUT", "sys/policies/acl/ends", written)).error).toBe("");
    const before = (await call(one, "GET", "sys/policies/acl/ends")).data;
    const snapshot = await take(one);
    await call(one, "PUT", "sys/policies/acl/ends", { policy: `${policy} `, cas_required: true, cas: 1 });
    const back = await item("recover", "policy", "ends", snapshot);
    expect(back.status, back.error).toBe(200);
    const { version: _grown, modified: _later, ...after } = (await call(one, "GET", "sys/policies/acl/ends")).data;
    expect(before).toMatchObject(after);
    expect(after).toMatchObject({ policy, cas_required: true, expiration: expect.stringContaining("2099") });
  });

  it("is an auth method only for who may enable those, and hides no namespace", async () => {
    await call(one, "POST", "sys/auth/people", { type: "userpass" });
    await call(one, "POST", "sys/mounts/taken", { type: "kv" });
    const snapshot = await take(one);
    await call(one, "DELETE", "sys/auth/people");
    await call(one, "DELETE", "sys/mounts/taken");
    const policy = `path "sys/storage/*" { capabilities = ["update", "sudo"] }
      path "sys/mounts/*" { capabilities = ["create", "read", "update"] }`;
    await call(one, "PUT", "sys/policies/acl/mounter", { policy });
    const made = await fetch(`${one.address}/v1/auth/token/create`, {
      method: "POST",
      headers: { "X-Vault-Token": one.rootToken },
      body: JSON.stringify({ policies: ["mounter"] }),
    });
    const { auth } = (await made.json()) as { auth: { client_token: string } };
    expect((await item("recover", "mount", "auth/people", snapshot, auth.client_token)).status).toBe(403);
    expect((await item("read", "mount", "taken", snapshot, auth.client_token)).status).toBe(200);
    expect((await item("recover", "mount", "auth/people", snapshot)).status).toBe(200);
    await expect.poll(async () => (await call(one, "PUT", "sys/namespaces/taken", {})).status).toBe(200);
    expect((await item("recover", "mount", "taken", snapshot)).error).toContain("there is a namespace of this name");
  });

  it("is only for who may use the live path, with sudo", async () => {
    const policy = 'path "sys/storage/*" { capabilities = ["update", "sudo"] }';
    await call(one, "PUT", "sys/policies/acl/items", { policy });
    const made = await fetch(`${one.address}/v1/auth/token/create`, {
      method: "POST",
      headers: { "X-Vault-Token": one.rootToken },
      body: JSON.stringify({ policies: ["items"] }),
    });
    const { auth } = (await made.json()) as { auth: { client_token: string } };
    await put(one, "item/b", "secret");
    const snapshot = await take(one);
    for (const what of ["read", "recover"])
      expect((await item(what, "kv", "secret/item/b", snapshot, auth.client_token)).status).toBe(403);
  });
});

describe("the command line", () => {
  it("saves, inspects, verifies, reads, brings back and restores", async () => {
    const setting = { address: one.address, home: folder, env: { VAULT_TOKEN: one.rootToken } };
    const run = async (...argv: string[]) => {
      const { code, stdout, stderr } = await cli(setting, "operator", "snapshot", ...argv);
      expect(code, stderr).toBe(0);
      return stdout;
    };
    await put(one, "cli", "old");
    expect(await run("save", "cli.snap")).toMatch(/entries +\d+/);
    expect((await stat(join(folder, "cli.snap"))).mode & 0o777).toBe(0o600);
    await put(one, "cli", "new");
    expect(await run("inspect", "cli.snap")).toMatch(/storage +lmdb/);
    expect(await run("verify", "cli.snap")).toMatch(/decrypted +\d+/);
    expect(await run("read", "cli.snap", "kv", "secret/cli")).toContain('"old"');
    await run("restore-item", "cli.snap", "kv", "secret/cli");
    const elsewhere = await cli(
      setting,
      "operator",
      "snapshot",
      "read",
      "-namespace=x",
      "cli.snap",
      "kv",
      "secret/cli",
    );
    expect([elsewhere.code, elsewhere.stderr]).toEqual([2, expect.stringContaining("no namespace x/")]);
    expect(await get(one, "cli")).toBe("old");
    await put(one, "cli", "newer");
    await run("restore", "cli.snap");
    expect(await get(one, "cli")).toBe("old");
    const file = join(folder, "cli.snap");
    await writeFile(file, (await readFile(file)).subarray(0, -50));
    for (const command of ["inspect", "verify", "restore"])
      expect((await cli(setting, "operator", "snapshot", command, "cli.snap")).code).not.toBe(0);
    expect((await cli(setting, "operator", "snapshot", "inspect", "none.snap")).stderr).toContain("none.snap");
  });
});
