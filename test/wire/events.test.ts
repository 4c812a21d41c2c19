// Events over a WebSocket, by a real server process: the handshake by hand, the rest by a client library and by the CLI.
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import WebSocket from "ws";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { type OpenServer, startDevelopmentServer } from "#test/kit/server.ts";
import { must, startTwoServers } from "#test/kit/two-servers.ts";
import { cli } from "#test/run-cli.ts";

describe("sys/events/subscribe", () => {
  let server: OpenServer;
  beforeAll(async () => {
    server = await startDevelopmentServer();
    await call("POST", "sys/mounts/one", { type: "kv", options: { version: "1" } });
  });
  afterAll(async () => {
    await server?.stop();
  });

  async function call(method: string, path: string, body?: JsonValue, token = server.rootToken): Promise<JsonObject> {
    const response = await fetch(`${server.address}/v1/${path}`, {
      method,
      headers: { "X-Vault-Token": token },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    const answer = text === "" ? {} : parseJson(text);
    return isJsonObject(answer) ? answer : {};
  }

  function connect(type: string, token: string, query = ""): WebSocket {
    const url = `${server.address.replace("http", "ws")}/v1/sys/events/subscribe/${type}?json=true${query}`;
    return new WebSocket(url, { headers: { "X-Vault-Token": token } });
  }

  async function newToken(): Promise<string> {
    const policy = `path "sys/events/subscribe/*" { capabilities = ["subscribe"] }
      path "one/*" { capabilities = ["subscribe"] }`;
    await call("PUT", "sys/policies/acl/listener", { policy });
    const { auth } = await call("POST", "auth/token/create", { policies: ["default", "listener"], ttl: "1h" });
    return isJsonObject(auth) ? String(auth["client_token"]) : "";
  }

  /** A handshake written out; gives the status, and what came with it. */
  function upgrade(path: string, headers: Readonly<Record<string, string>>): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const asked = request(`${server.address}/v1/${path}`, {
        headers: { Connection: "Upgrade", "Sec-WebSocket-Version": "13", ...headers },
      });
      asked.on("error", reject);
      asked.on("upgrade", ({ statusCode, headers: got }, socket) => {
        socket.destroy();
        resolve({ status: statusCode ?? 0, text: String(got["sec-websocket-accept"]) });
      });
      asked.on("response", async (response) => {
        const chunks = await response.toArray();
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") });
      });
      asked.end();
    });
  }

  it("takes the handshake as RFC 6455 1.3 has it", async () => {
    const headers = {
      ...{ "X-Vault-Token": server.rootToken, Upgrade: "websocket" },
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    };
    const answer = await upgrade("sys/events/subscribe/kv-v1%2Fwrite?json=true", headers);
    expect(answer).toEqual({ status: 101, text: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" });
  });

  it("answers what it refuses as HTTP", async () => {
    const key = { Upgrade: "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };
    const path = "sys/events/subscribe/kv-v1%2Fwrite?json=true";
    expect(await upgrade(path, key)).toMatchObject({ status: 403 });
    expect(await upgrade("sys/events/subscribe/a", { ...key, "X-Vault-Token": server.rootToken })).toEqual({
      status: 400,
      text: '{"errors":["events are sent as JSON alone; add json=true"]}\n',
    });
    const other = { Upgrade: "h2c", "X-Vault-Token": server.rootToken };
    expect((await upgrade(path, other)).text).toContain("events come over a WebSocket");
    expect((await upgrade("sys/mounts", { ...key, "X-Vault-Token": server.rootToken })).status).toBe(200);
    const plain = await fetch(`${server.address}/v1/${path}`, { headers: { "X-Vault-Token": server.rootToken } });
    expect(plain.status).toBe(400);
  });

  it("sends what happens, and closes when the token is revoked", async () => {
    const token = await newToken();
    const socket = connect("kv-v1%2F*", token);
    await once(socket, "open");
    const message = once(socket, "message");
    await call("POST", "one/a", { password: "swordfish" });
    const text = String((await message)[0]);
    expect(text).not.toContain("swordfish");
    expect(parseJson(text)).toMatchObject({
      type: "kv-v1/write",
      data: { event: { metadata: { data_path: "one/a" } }, plugin_info: { mount_path: "one/" } },
    });
    const closed = once(socket, "close");
    await call("POST", "auth/token/revoke-self", {}, token);
    expect((await closed)[0]).toBe(1008);
  });

  it("sends what a filter lets through, and refuses one that is none", async () => {
    const filter = encodeURIComponent('operation == delete and data_path matches "one/f*"');
    const socket = connect("kv-v1%2F*", server.rootToken, `&filter=${filter}`);
    await once(socket, "open");
    const message = once(socket, "message");
    await call("POST", "one/f", { a: 1 });
    await call("DELETE", "one/g");
    await call("DELETE", "one/f");
    expect(parseJson(String((await message)[0]))).toMatchObject({
      type: "kv-v1/delete",
      data: { event: { metadata: { data_path: "one/f" } } },
    });
    socket.close();
    const refused = connect("*", server.rootToken, "&filter=colour%20%3D%3D%20red");
    const [error] = await once(refused, "error");
    expect(String(error)).toContain("400");
  });

  it("closes on a client that talks too much", async () => {
    const socket = connect("*", server.rootToken);
    await once(socket, "open");
    const closed = once(socket, "close");
    socket.send("x".repeat(2_000));
    expect((await closed)[0]).toBe(1009);
  });

  it("drops a client that does not read, not the server", { timeout: 60_000 }, async () => {
    const socket = connect("*", server.rootToken);
    await once(socket, "open");
    socket.pause();
    const closed = once(socket, "close");
    // More than the sockets' buffers and the queue hold.
    const writes = Array.from({ length: 8 }, async () => {
      for (let i = 0; i < 500; i++) await call("POST", `one/${"long-name-".repeat(180)}`, { i });
    });
    await Promise.all(writes);
    socket.resume();
    expect((await closed)[0]).toBe(1013);
  });

  it("is shown by the CLI, which says why it ends", async () => {
    const token = await newToken();
    const setting = { address: server.address, env: { VAULT_TOKEN: token } };
    const running = cli(setting, "events", "subscribe", "-path=one/shown*", "kv-v1/*");
    // Long enough for a CLI to have connected.
    for (let i = 0; i < 40; i++) {
      await call("POST", "one/hidden", { i });
      await call("DELETE", "one/shown");
      await systemClock.sleep(50);
    }
    await call("POST", "auth/token/revoke-self", {}, token);
    const { code, stdout, stderr } = await running;
    expect(stdout).toMatch(/^(\S+Z {2}kv-v1\/delete {2}one\/shown\n)+$/);
    expect([code, stderr]).toEqual([2, expect.stringContaining("the token has ended")]);
    const refused = await cli({ address: server.address }, "events", "subscribe", "*");
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("permission denied")]);
  });

  it("says that it is going when the server stops", async () => {
    const other = await startDevelopmentServer();
    const socket = new WebSocket(`${other.address.replace("http", "ws")}/v1/sys/events/subscribe/*?json=true`, {
      headers: { "X-Vault-Token": other.rootToken },
    });
    const deaf = new WebSocket(socket.url, { headers: { "X-Vault-Token": other.rootToken } });
    await Promise.all([once(socket, "open"), once(deaf, "open")]);
    deaf.pause();
    const closed = once(socket, "close");
    const before = systemClock.now();
    await other.stop();
    expect((await closed)[0]).toBe(1001);
    // One that does not answer the closing handshake does not keep the server.
    expect(systemClock.now() - before).toBeLessThan(15_000);
    deaf.terminate();
  });
});

describe("two servers on one storage", () => {
  it("tell each other's subscribers what they do", async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-events-"));
    const servers = await startTwoServers({ lmdb: { path: folder } });
    try {
      const url = `${servers.two.address.replace("http", "ws")}/v1/sys/events/subscribe/kv-v1%2F*?json=true`;
      const socket = new WebSocket(url, { headers: { "X-Vault-Token": servers.root } });
      await once(socket, "open");
      const message = once(socket, "message");
      let isTold = false;
      void message.then(() => {
        isTold = true;
      });
      // The other server notices within about a second that somebody listens.
      for (let i = 0; i < 100 && !isTold; i++) {
        await must(servers.one, "POST", "secret/told", servers.root, { i });
        await systemClock.sleep(50);
      }
      expect(parseJson(String((await message)[0]))).toMatchObject({
        type: "kv-v1/write",
        data: { event: { metadata: { data_path: "secret/told" } } },
      });
      socket.close();
    } finally {
      await servers.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
