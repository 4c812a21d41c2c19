// The agent's proxy over a scripted server: tokens, the cache's life, its own endpoints, and what it refuses.
import { request } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { createApiClient } from "#client/api-client.ts";
import type { AgentConfig } from "#common/agent-config.ts";
import { FakeClock } from "#common/clock.ts";
import { type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { createMetrics } from "#common/metrics.ts";
import { authBlock, enveloped, refused, type Script, type SeenRequest, startScriptedApi } from "#test/scripted-api.ts";
import { readAgentConfig } from "../config.ts";
import { BODY_BYTES_MAX } from "./exchange.ts";
import { startProxy } from "./start-proxy.ts";

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each[Symbol.asyncDispose]();
});

const LOOPBACK = { type: "tcp", address: "127.0.0.1:0" };

async function start(script: Script, change: JsonObject = {}, listener: JsonObject = {}) {
  const api = await startScriptedApi(script);
  const clock = new FakeClock();
  const end = new AbortController();
  const state = { token: "auto" as string | undefined, dropped: [] as string[], quits: 0 };
  const config: AgentConfig = readAgentConfig({
    COFFER_AGENT_CONFIG: JSON.stringify({
      address: api.address,
      auth: { mount: "kubernetes", role: "r", tokenFile: "/t" },
      ...{ sources: [], files: [], mode: "Sidecar", readyFile: "/r", cache: true, retries: 0 },
      listeners: [{ ...LOOPBACK, ...listener }],
      ...change,
    }),
  });
  const client = createApiClient({ address: api.address, clock, retries: 0 });
  const metrics = createMetrics();
  const proxy = await startProxy({
    ...{ config, client, clock, metrics, log: silentLog, signal: end.signal, tls: {} },
    keeper: {
      current: () => state.token,
      obtain: async () => {
        state.token ??= "auto-2";
        return state.token;
      },
      drop(token) {
        state.dropped.push(token);
        state.token = undefined;
      },
      run: async () => {},
    },
    quit: () => state.quits++,
  });
  const [address = ""] = proxy.addresses;
  open.push({
    async [Symbol.asyncDispose]() {
      end.abort();
      proxy.close();
      client.close();
      await api[Symbol.asyncDispose]();
    },
  });
  const port = Number(address.split(":").at(-1));
  const ask = (method: string, path: string, options: Asking = {}) => call(port, method, path, options);
  return { api, clock, state, port, ask, metrics };
}

interface Asking {
  readonly headers?: Record<string, string>;
  readonly body?: JsonValue | Buffer;
}

async function call(port: number, method: string, path: string, { headers = {}, body }: Asking) {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string; cache: unknown }>();
  const sent = request({ host: "127.0.0.1", port, method, path, headers }, (response) => {
    const { statusCode = 0, headers: told } = response;
    text(response).then((all) => resolve({ status: statusCode, text: all, cache: told["x-cache"] }), reject);
  });
  sent.on("error", reject);
  sent.end(body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  return promise;
}

const json = ({ text: body }: { text: string }) => parseJson(body);
const tokensOf = (seen: readonly SeenRequest[]) => seen.map(({ headers }) => headers["x-vault-token"]);

describe("whose token a request goes with", () => {
  const both = async (useAutoAuthToken: string) => {
    const { api, ask } = await start(() => enveloped({}), { proxy: { useAutoAuthToken } });
    await ask("GET", "/v1/secret/a");
    await ask("GET", "/v1/secret/a", { headers: { "X-Vault-Token": "own" } });
    await ask("GET", "/v1/secret/a", { headers: { Authorization: "Bearer own" } });
    return tokensOf(api.seen);
  };
  it("its own alone, unless told otherwise", async () => {
    expect(await both("Never")).toEqual([undefined, "own", "own"]);
  });
  it("the agent's, if it brings none", async () => {
    expect(await both("WhenMissing")).toEqual(["auto", "own", "own"]);
  });
  it("the agent's always", async () => {
    expect(await both("Force")).toEqual(["auto", "auto", "auto"]);
  });

  it("waits for nobody: 503 while the agent has none", async () => {
    const { api, state, ask } = await start(() => enveloped({}), { proxy: { useAutoAuthToken: "Force" } });
    state.token = undefined;
    expect(await ask("GET", "/v1/secret/a")).toMatchObject({ status: 503 });
    expect(api.seen).toEqual([]);
  });

  it("logs in again when the server knows the token no more, and looks for that once in a while only", async () => {
    const script: Script = ({ path, headers }) =>
      headers["x-vault-token"] === "auto" || path === "secret/denied" ? refused(403) : enveloped({ ok: true });
    const { api, state, ask } = await start(script, { proxy: { useAutoAuthToken: "Force" } });
    expect(json(await ask("GET", "/v1/secret/a"))).toMatchObject({ data: { ok: true } });
    expect(state).toMatchObject({ token: "auto-2", dropped: ["auto"] });
    for (let i = 0; i < 3; i++) expect(await ask("GET", "/v1/secret/denied")).toMatchObject({ status: 403 });
    expect(api.seen.filter(({ path }) => path === "auth/token/lookup-self")).toHaveLength(1);
  });

  it("does not show the agent's token to the pod", async () => {
    const script: Script = ({ path }) =>
      path.endsWith("renew-self")
        ? enveloped(null, { auth: authBlock("auto", 60) })
        : enveloped({ id: "auto", ttl: 60, num: 1 });
    const { ask } = await start(script, { proxy: { useAutoAuthToken: "WhenMissing" } });
    const looked = await ask("GET", "/v1/auth/token/lookup-self");
    expect(json(looked)).toMatchObject({ data: { ttl: 60 } });
    const renewed = await ask("POST", "/v1/auth/token/renew-self", { body: {} });
    expect(json(renewed)).toMatchObject({ auth: { lease_duration: 60 } });
    expect(looked.text + renewed.text).not.toContain('"auto"');
    const own = await ask("GET", "/v1/auth/token/lookup-self", { headers: { "X-Vault-Token": "own" } });
    expect(json(own)).toMatchObject({ data: { id: "auto" } });
  });
});

describe("what is passed on", () => {
  it("method, path, query, body, headers and status, but for headers of the connection", async () => {
    const { api, ask } = await start(() => ({
      status: 418,
      body: { errors: ["x"] },
      headers: { "X-Vault-Thing": "y" },
    }));
    const headers = { "X-Custom": "c", Connection: "close, x-drop", "X-Drop": "d", "X-Vault-Namespace": "ns" };
    const answer = await ask("PATCH", "/v1/secret/data/a%20b?x=1&x=2", { headers, body: { a: 1.0 } });
    expect(answer).toMatchObject({ status: 418, text: '{"errors":["x"]}', cache: "MISS" });
    const [seen] = api.seen;
    expect(seen).toMatchObject({ method: "PATCH", path: "secret/data/a b", query: { x: "2" }, body: { a: 1 } });
    expect(seen?.headers).toMatchObject({ "x-custom": "c", "x-vault-namespace": "ns", "x-vault-request": "true" });
    expect(seen?.headers["x-drop"]).toBeUndefined();
  });

  it("LIST, as clients send it", async () => {
    const { api, port } = await start(() => enveloped({ keys: ["a"] }));
    const socket = connect(port, "127.0.0.1");
    socket.write("LIST /v1/secret/metadata HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    expect(await text(socket)).toContain('"keys":["a"]');
    expect(api.seen).toMatchObject([{ method: "GET", path: "secret/metadata", query: { list: "true" } }]);
  });

  it("an answer that is too large to be held", async () => {
    const large = "x".repeat(3_000_000);
    const { ask } = await start(() => enveloped({ large }, { lease_id: "l", lease_duration: 60, renewable: true }), {
      proxy: { useAutoAuthToken: "Force" },
    });
    for (const cache of ["MISS", "MISS"]) {
      const answer = await ask("GET", "/v1/secret/large");
      expect(answer).toMatchObject({ status: 200, cache });
      expect(answer.text.length).toBeGreaterThan(large.length);
    }
  });

  it.each(["/v1/../agent", "/v1/a/%2e%2e/%2E%2e/sys", "/v1/./a", "/v1/a\\..\\b"])(
    "nothing that leads out: %s",
    async (path) => {
      const { api, ask } = await start(() => enveloped({}));
      expect(await ask("GET", path)).toMatchObject({ status: 400 });
      expect(api.seen).toEqual([]);
    },
  );

  it.each(["/", "/ui/", "/v2/x", "/agent/v1/other"])("nothing beside the API: %s", async (path) => {
    const { api, ask } = await start(() => enveloped({}));
    expect(await ask("GET", path)).toMatchObject({ status: 404 });
    expect(api.seen).toEqual([]);
  });

  it("bodies up to the limit, and 413 beyond it", async () => {
    const { api, ask } = await start(() => enveloped({}));
    const body = (size: number) => Buffer.from(JSON.stringify("x".repeat(size - 2)));
    expect(await ask("POST", "/v1/transit/a", { body: body(BODY_BYTES_MAX) })).toMatchObject({ status: 200 });
    expect(await ask("POST", "/v1/transit/a", { body: body(BODY_BYTES_MAX + 1) })).toMatchObject({ status: 413 });
    expect(api.seen).toHaveLength(1);
  });

  it("nothing without the header that no other site can make a browser send, where it is required", async () => {
    const { api, ask } = await start(() => enveloped({}), {}, { requireRequestHeader: true });
    expect(await ask("GET", "/v1/secret/a")).toMatchObject({ status: 412 });
    expect(await ask("GET", "/agent/v1/metrics")).toMatchObject({ status: 412 });
    expect(api.seen).toEqual([]);
    const headers = { "X-Vault-Request": "true" };
    expect(await ask("GET", "/v1/secret/a", { headers })).toMatchObject({ status: 200 });
  });

  it("502 when the server is away, without a word of its address", async () => {
    const { ask } = await start(() => "cut");
    const answer = await ask("POST", "/v1/secret/a", { body: {} });
    expect(answer).toMatchObject({ status: 502 });
    expect(answer.text).toBe('{"errors":["the server cannot be reached: closed"]}\n');
  });
});

/** A server whose "database" makes a user at each read, and whose leases and tokens can be renewed to 60 s. */
function makers() {
  const counts = { users: 0, tokens: 0, renewals: 0, renewTo: 60, refuses: false };
  const script: Script = ({ path, headers }) => {
    if (path === "sys/leases/renew" || path === "auth/token/renew-self") {
      counts.renewals++;
      if (counts.refuses) return refused(400, "lease not found");
      const auth = path === "sys/leases/renew" ? null : authBlock("x", counts.renewTo);
      return enveloped(null, { lease_id: "l", lease_duration: counts.renewTo, renewable: true, auth });
    }
    if (path.startsWith("database/")) {
      const n = ++counts.users;
      return enveloped({ user: `u${n}` }, { lease_id: `${path}/${n}`, lease_duration: 60, renewable: true });
    }
    if (path === "auth/userpass/login/me" || path === "auth/token/create") {
      return enveloped(null, { auth: authBlock(`${headers["x-vault-token"] ?? "login"}.${++counts.tokens}`, 60) });
    }
    if (path.includes("revoke")) return { status: 204 };
    return enveloped({ plain: true });
  };
  return { counts, script };
}

describe("the cache", () => {
  const forced = { proxy: { useAutoAuthToken: "WhenMissing" } };
  const CREDS = "/v1/database/creds/r";

  it("gives one credential to all that ask the same, also at once", async () => {
    const { script, counts } = makers();
    const { ask, metrics } = await start(script, forced);
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask("GET", CREDS)));
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1);
    expect(answers.filter(({ cache }) => cache === "HIT")).toHaveLength(7);
    expect(counts.users).toBe(1);
    await ask("GET", `${CREDS}?other=1`);
    expect(counts.users).toBe(2);
    expect(metrics.render()).toContain('coffer_agent_proxy_requests_total{result="hit"} 7');
    expect(metrics.render()).toContain("coffer_agent_cache_entries 2");
  });

  it("keeps nothing for tokens that it cannot hear of, nor what has no lease, nor what is wrapped apart", async () => {
    const { script, counts } = makers();
    const { ask } = await start(script, forced);
    for (let i = 0; i < 2; i++) await ask("GET", CREDS, { headers: { "X-Vault-Token": "strange" } });
    expect(counts.users).toBe(2);
    expect(await ask("GET", "/v1/secret/a")).toMatchObject({ cache: "MISS" });
    expect(await ask("GET", "/v1/secret/a")).toMatchObject({ cache: "MISS" });
    await ask("GET", CREDS);
    await ask("GET", CREDS, { headers: { "X-Vault-Wrap-TTL": "60s" } });
    await ask("GET", CREDS, { headers: { "X-Vault-Namespace": "other" } });
    expect(counts.users).toBe(5);
  });

  it("renews what it keeps, until the server gives less", async () => {
    const { script, counts } = makers();
    const { ask, clock } = await start(script, forced);
    await ask("GET", CREDS);
    for (const renewals of [1, 2, 3]) {
      await clock.advance(40_000);
      await expect.poll(() => counts.renewals).toBe(renewals);
      expect(await ask("GET", CREDS)).toMatchObject({ cache: "HIT" });
    }
    counts.renewTo = 20;
    await clock.advance(40_000);
    await expect.poll(() => counts.renewals).toBe(4);
    expect(await ask("GET", CREDS)).toMatchObject({ cache: "HIT" });
    await clock.advance(14_000);
    await expect.poll(async () => (await ask("GET", CREDS)).cache).toBe("MISS");
    expect(counts).toMatchObject({ users: 2, renewals: 4 });
  });

  it("drops what the server will not renew", async () => {
    const { script, counts } = makers();
    const { ask, clock } = await start(script, forced);
    await ask("GET", CREDS);
    counts.refuses = true;
    await clock.advance(40_000);
    await expect.poll(() => counts.renewals).toBe(1);
    await expect.poll(async () => (await ask("GET", CREDS)).cache).toBe("MISS");
  });

  it("keeps logins, tokens made with them and their leases, and drops all of them with the login", async () => {
    const { script, counts } = makers();
    const { ask } = await start(script);
    const login = () => ask("POST", "/v1/auth/userpass/login/me", { body: { password: "p" } });
    const made = json(await login());
    expect(made).toMatchObject({ auth: { client_token: "login.1" } });
    expect(json(await login())).toEqual(made);
    const headers = { "X-Vault-Token": "login.1" };
    const child = () => ask("POST", "/v1/auth/token/create", { headers, body: {} });
    expect(json(await child())).toMatchObject({ auth: { client_token: "login.1.2" } });
    const creds = () => ask("GET", CREDS, { headers: { "X-Vault-Token": "login.1.2" } });
    await creds();
    expect([(await child()).cache, (await creds()).cache]).toEqual(["HIT", "HIT"]);
    await ask("POST", "/v1/auth/token/revoke", { headers: { "X-Vault-Token": "root" }, body: { token: "login.1" } });
    expect(json(await login())).toMatchObject({ auth: { client_token: "login.3" } });
    expect((await creds()).cache).toBe("MISS");
    expect(counts.users).toBe(2);
  });

  it.each([
    ["sys/leases/revoke", { lease_id: "database/creds/r/1" }],
    ["sys/leases/revoke-prefix/database/creds", {}],
    ["auth/token/revoke-self", {}],
  ])("drops what %s ended", async (path, body) => {
    const { script, counts } = makers();
    const { ask, state } = await start(script, forced);
    await ask("GET", CREDS);
    await ask("PUT", `/v1/${path}`, { body });
    state.token ??= "auto-3";
    expect(await ask("GET", CREDS)).toMatchObject({ cache: "MISS" });
    expect(counts.users).toBe(2);
  });

  it("forgets the leases of a former login of the agent", async () => {
    const { script, counts } = makers();
    const { ask, state, clock } = await start(script, forced);
    await ask("GET", CREDS);
    state.token = "auto-9";
    await ask("GET", CREDS);
    await clock.advance(40_000);
    await expect.poll(() => counts.renewals).toBeGreaterThan(0);
    expect((await ask("GET", "/agent/v1/metrics")).text).toContain("coffer_agent_cache_entries 1");
  });

  it("is not there without being asked for", async () => {
    const { script, counts } = makers();
    const { ask } = await start(script, { ...forced, cache: false });
    expect([(await ask("GET", CREDS)).cache, (await ask("GET", CREDS)).cache]).toEqual([undefined, undefined]);
    expect(counts.users).toBe(2);
    expect(await ask("POST", "/agent/v1/cache-clear", { body: { type: "all" } })).toMatchObject({ status: 404 });
  });
});

describe("the agent's own endpoints", () => {
  const forced = { proxy: { useAutoAuthToken: "WhenMissing" } };
  it.each([
    { type: "all" },
    { type: "request_path", value: "/v1/database/creds" },
    { type: "lease", value: "database/creds/r/1" },
    { type: "token", value: "auto" },
  ])("clears %o", async (body) => {
    const { ask } = await start(makers().script, forced);
    await ask("GET", "/v1/database/creds/r");
    expect(await ask("POST", "/agent/v1/cache-clear", { body })).toMatchObject({ status: 204 });
    expect(await ask("GET", "/v1/database/creds/r")).toMatchObject({ cache: "MISS" });
  });

  it.each([
    ["GET", { type: "all" }, {}, 405],
    ["POST", { type: "everything" }, {}, 400],
    ["POST", { type: "lease" }, {}, 400],
    ["POST", Buffer.from("{"), {}, 400],
    ["POST", { type: "all" }, { Origin: "https://elsewhere" }, 403],
  ])("refuses to clear for %s %o %o", async (method, body, headers, status) => {
    const { ask } = await start(makers().script, forced);
    expect(await ask(method, "/agent/v1/cache-clear", { body, headers })).toMatchObject({ status });
  });

  it("quits only where that is enabled, by POST, and for no page of a browser", async () => {
    const none = await start(makers().script);
    expect(await none.ask("POST", "/agent/v1/quit")).toMatchObject({ status: 403 });
    expect(none.state.quits).toBe(0);
    const some = await start(makers().script, {}, { quit: "End" });
    expect(await some.ask("GET", "/agent/v1/quit")).toMatchObject({ status: 405 });
    expect(await some.ask("POST", "/agent/v1/quit", { headers: { Origin: "https://x" } })).toMatchObject({
      status: 403,
    });
    expect(some.state.quits).toBe(0);
    expect(await some.ask("POST", "/agent/v1/quit")).toMatchObject({ status: 204 });
    expect(some.state.quits).toBe(1);
    const sidecar = await start(makers().script, {}, { quit: "Acknowledge" });
    expect(await sidecar.ask("POST", "/agent/v1/quit")).toMatchObject({ status: 204 });
    expect(sidecar.state.quits).toBe(0);
  });

  it("has a listener for metrics alone", async () => {
    const { api, ask } = await start(makers().script, {}, { metricsOnly: true });
    expect(await ask("GET", "/agent/v1/metrics")).toMatchObject({ status: 200 });
    for (const path of ["/v1/secret/a", "/agent/v1/quit"])
      expect(await ask("GET", path)).toMatchObject({ status: 404 });
    expect(api.seen).toEqual([]);
  });
});

describe("consistency", () => {
  const state = (local: number) => Buffer.from(`v1:c1:${local}:0:mac`).toString("base64");
  it("tells later requests what the server said of earlier ones, the newest of it", async () => {
    const local = [5, 7, 6];
    const script: Script = ({ method }) =>
      method === "GET" ? enveloped({}) : { ...enveloped({}), headers: { "X-Vault-Index": state(local.shift() ?? 0) } };
    const { api, ask } = await start(script, { proxy: { consistency: "Forward" } });
    await ask("GET", "/v1/secret/a");
    for (let i = 0; i < 3; i++) await ask("POST", "/v1/secret/a", { body: {} });
    await ask("GET", "/v1/secret/a");
    expect(api.seen[0]?.headers["x-vault-index"]).toBeUndefined();
    expect(api.seen.at(-1)?.headers).toMatchObject({
      "x-vault-index": state(7),
      "x-vault-inconsistent": "forward-active-node",
    });
  });
});

describe("where it listens", () => {
  it("not where others could reach it, unless told so", async () => {
    await expect(start(makers().script, {}, { address: "0.0.0.0:0" })).rejects.toThrow(
      "can be reached from other machines",
    );
    await expect(start(makers().script, {}, { address: "8200" })).rejects.toThrow("must be as 127.0.0.1:8200");
  });

  it("or ends with a port that is taken, when told so", async () => {
    const { port } = await start(makers().script);
    const change = { proxy: { exitOnError: true } };
    await expect(start(makers().script, change, { address: `127.0.0.1:${port}` })).rejects.toThrow("cannot listen at");
  });
});
