import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { FakeClock, systemClock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { createLog } from "#common/log.ts";
import { METRICS_CONTENT_TYPE } from "#common/metrics.ts";
import type { ListenerConfig } from "../config/listener-config.ts";
import type { CrossOriginRules } from "../core/cross-origin.ts";
import type { Answer, Request } from "../core/request.ts";
import { type Listener, listen } from "./listener.ts";

const BODY_MAX = 4096;
const METRICS = "coffer_unsealed 1\n";
const BASE: ListenerConfig = {
  host: "127.0.0.1",
  port: 0,
  tls: undefined,
  maxRequestBytes: BODY_MAX,
  maxRequestSeconds: 30,
  requireRequestHeader: false,
  forwardedFor: undefined,
  unauthenticatedMetrics: false,
  unauthenticatedRekey: false,
  unauthenticatedRootGeneration: false,
};

const opened: Started[] = [];
const sockets: Socket[] = [];

interface Started {
  readonly listener: Listener;
  readonly clock: FakeClock;
  readonly seen: Request[];
  readonly logged: string[];
}

async function start(
  options: {
    config?: Partial<ListenerConfig>;
    serve?: (request: Request) => Promise<Answer>;
    rules?: CrossOriginRules;
  } = {},
): Promise<Started> {
  const clock = new FakeClock();
  const seen: Request[] = [];
  const logged: string[] = [];
  const serve = async (request: Request): Promise<Answer> => {
    seen.push(request);
    return options.serve?.(request) ?? { status: 200, contentType: "application/json", body: '{"ok":true}\n' };
  };
  const log = createLog({ level: "warn", format: "text", write: (line) => void logged.push(line), now: () => 0 });
  const listener = await listen(
    { ...BASE, ...options.config },
    {
      serve,
      pages: (_, response) => void response.end("page"),
      log,
      clock,
      crossOrigin: async () => options.rules,
      metrics: async (asked) => {
        if (asked.format === "xml") throw new CofferError("invalid_request", "unknown format");
        return {
          contentType: asked.format === "prometheus" ? METRICS_CONTENT_TYPE : "application/json",
          body: METRICS,
        };
      },
    },
  );
  const all = { listener, clock, seen, logged };
  opened.push(all);
  return all;
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const { listener, clock } of opened.splice(0)) await closeWith(listener, clock);
});

async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await once(socket, "close");
}

/** Closes a listener whose clock only moves by hand. */
async function closeWith(listener: Listener, clock: FakeClock): Promise<void> {
  let isClosed = false;
  const closing = listener.close().then(() => {
    isClosed = true;
  });
  while (!isClosed) {
    await systemClock.sleep(5);
    await clock.advance(25);
  }
  await closing;
}

function dial({ listener }: Started): { socket: Socket; text: () => string; until(pattern: RegExp): Promise<string> } {
  const socket = connect(Number(new URL(listener.address).port), "127.0.0.1");
  sockets.push(socket);
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  const until = async (pattern: RegExp) => {
    while (!pattern.test(text)) {
      if (socket.closed) throw new Error(`closed before ${pattern}: ${text}`);
      await systemClock.sleep(2);
    }
    return text;
  };
  return { socket, text: () => text, until };
}

async function ask(started: Started, path: string, init: RequestInit = {}) {
  const response = await fetch(started.listener.address + path, { redirect: "manual", ...init });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

const post = (size: number) => ({ method: "POST", body: `{"a":"${"x".repeat(size - 8)}"}` });

describe("bodies", () => {
  it("are taken up to the limit and refused one byte beyond", async () => {
    const started = await start();
    expect((await ask(started, "/v1/a", post(BODY_MAX))).status).toBe(200);
    const refused = await ask(started, "/v1/a", post(BODY_MAX + 1));
    expect(refused.status).toBe(413);
    expect(refused.text).toBe('{"errors":["the request\'s body is larger than 4096 bytes"]}\n');
    expect(started.seen).toHaveLength(1);
  });

  it("that are too large leave the connection usable when they have been read to their end", async () => {
    const started = await start();
    const { socket, until } = dial(started);
    socket.write(
      `POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY_MAX + 1}\r\n\r\n${"x".repeat(BODY_MAX + 1)}`,
    );
    await until(/413 [\s\S]*errors/);
    socket.write("GET /v1/b HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await until(/"ok"/)).not.toContain("Connection: close");
  });

  it("that are too large in chunks are refused as well", async () => {
    const started = await start();
    const { socket, until } = dial(started);
    const chunk = `1000\r\n${"x".repeat(0x1000)}\r\n`;
    socket.write(`POST /v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}0\r\n\r\n`);
    expect(await until(/errors/)).toContain("HTTP/1.1 413 ");
  });

  it("that are far too large are not read at all", async () => {
    const started = await start();
    const { socket, until } = dial(started);
    socket.write("POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\nx");
    expect(await until(/errors/)).toMatch(/HTTP\/1\.1 413 [\s\S]*Connection: close/);
    await closed(socket);
  });

  it("that do not come in time are answered with 408", async () => {
    const started = await start();
    const { socket, until } = dial(started);
    socket.write("POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{");
    await systemClock.sleep(30);
    await started.clock.advance(29_000);
    await started.clock.advance(1_500);
    expect(await until(/errors/)).toMatch(/HTTP\/1\.1 408 [\s\S]*Connection: close[\s\S]*did not arrive in time/);
    await closed(socket);
    expect(started.seen).toEqual([]);
  });

  it("of clients that go away are no fault worth a line in the log", async () => {
    const started = await start();
    const { socket } = dial(started);
    socket.write("POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{");
    await systemClock.sleep(20);
    socket.destroy();
    await systemClock.sleep(20);
    expect(started.logged).toEqual([]);
  });
});

describe("targets", () => {
  it.each(["GET", "LIST"])("in UTF-8 without percent encoding are refused with what to do (%s)", async (method) => {
    const { socket, until } = dial(await start());
    socket.write(`${method} /v1/secret/é HTTP/1.1\r\nHost: a\r\n\r\n`);
    expect(await until(/errors.*\n/)).toMatch(/^HTTP\/1\.1 400 .*"the request's target holds .* percent encoding"/s);
  });

  it("in absolute form are taken as their path (RFC 9112 3.2.2)", async () => {
    const started = await start();
    const { socket, until } = dial(started);
    socket.write("GET http://vault.example:8200/v1/a/b?c=d HTTP/1.1\r\nHost: vault.example:8200\r\n\r\n");
    await until(/"ok"/);
    expect(started.seen).toMatchObject([{ path: "a/b", query: { c: "d" } }]);
  });
});

describe("requests that take too long", () => {
  it("are answered with 503 while the connection stays", async () => {
    const finish = new AbortController();
    const started = await start({
      serve: async (request) => {
        if (request.path === "slow") await once(finish.signal, "abort");
        return { status: 200, contentType: "application/json", body: `{"path":"${request.path}"}\n` };
      },
    });
    const { socket, until } = dial(started);
    socket.write("GET /v1/slow HTTP/1.1\r\nHost: a\r\n\r\n");
    await systemClock.sleep(30);
    await started.clock.advance(30_500);
    expect(await until(/errors/)).toMatch(/HTTP\/1\.1 503 /);
    finish.abort();
    socket.write("GET /v1/next HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await until(/next/)).not.toContain('"path":"slow"');
  });

  it("are waited for when the server closes", async () => {
    const started = await start({
      serve: async () => {
        await systemClock.sleep(60);
        return { status: 200, contentType: "application/json", body: '{"last":true}\n' };
      },
    });
    const { socket, until } = dial(started);
    socket.write("GET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n");
    await systemClock.sleep(20);
    const text = until(/last/);
    await closeWith(started.listener, started.clock);
    expect(await text).toContain("HTTP/1.1 200");
  });

  it("that arrive on an idle connection as the server begins to close are answered, and the client is told to leave", async () => {
    const started = await start();
    const { socket, until } = dial(started);
    socket.write("GET /v1/first HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await until(/\r\n\r\n.*\}/s)).not.toContain("Connection: close");
    const closing = closeWith(started.listener, started.clock);
    socket.write("GET /v1/last HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await until(/HTTP\/1\.1 200.*HTTP\/1\.1 200.*\}/s)).toContain("Connection: close");
    await closed(socket);
    await closing;
    opened.splice(opened.indexOf(started), 1);
  });
});

describe("every answer", () => {
  it("has its headers, and names the namespace that was asked", async () => {
    const started = await start();
    const { headers } = await ask(started, "/v1/a", { headers: { "X-Vault-Namespace": "team/" } });
    expect(headers.get("cache-control")).toBe("no-store");
    expect(headers.get("content-type")).toBe("application/json");
    expect(headers.get("x-vault-namespace")).toBe("team/");
    expect(headers.get("strict-transport-security")).toBe(null);
    expect(started.seen[0]?.namespace).toBe("team");
  });

  it.each([
    ["HEAD", "/v1/sys/health", 200],
    ["HEAD", "/v1/secret/a", 405],
    ["OPTIONS", "/v1/secret/a", 400],
    ["QUERY", "/v1/secret/a", 405],
    ["PATCH", "/v1/secret/a", 415],
    ["GET", "/v1/a%01b", 400],
    ["GET", "/v1/a%zzb", 400],
    ["GET", `/v1/${"a".repeat(2049)}`, 400],
    ["GET", "/v1/a//b", 307],
    ["GET", "/v1/a?list=perhaps", 400],
    ["GET", "/elsewhere", 200],
  ])("to %s %s has status %3$i", async (method, path, status) => {
    const started = await start();
    expect((await ask(started, path, { method })).status).toBe(status);
  });

  it.each([
    ["X-Vault-Wrap-TTL", "soon", "error parsing X-Vault-Wrap-TTL header"],
    ["X-Vault-Wrap-TTL", "-5", "cannot be negative"],
  ])("to a wrong %s: %s says so", async (name, value, text) => {
    const answer = await ask(await start(), "/v1/a", { headers: { [name]: value } });
    expect(answer.status).toBe(400);
    expect(answer.text).toContain(text);
  });
});

describe("decoding", () => {
  it.each([
    ["GET", "/v1/a%2Fb%20%C3%A9?x=1&x=2&y", { operation: "read", path: "a/b é", data: { x: ["1", "2"], y: "" } }],
    ["DELETE", "/v1/a?versions=1", { operation: "delete", data: { versions: "1" } }],
    ["GET", "/v1/a?list=t&after=b&limit=7", { operation: "list", page: { after: "b", limit: 7 } }],
    ["GET", "/v1/a?scan=true", { operation: "scan" }],
    ["GET", "/v1/a?help=1", { operation: "help" }],
    ["PUT", "/v1/a", { operation: "update" }],
  ])("%s %s", async (method, path, expected) => {
    const started = await start();
    await ask(started, path, { method });
    expect(started.seen[0]).toMatchObject(expected);
  });

  it.each([
    ["X-Vault-Token", "t1", "t1"],
    ["Authorization", "Bearer t2", "t2"],
    ["Authorization", "bearer t3", ""],
  ])("takes the token of %s: %s", async (name, value, token) => {
    const started = await start();
    await ask(started, "/v1/a?token=t4", { headers: { [name]: value } });
    expect(started.seen[0]?.clientToken).toBe(token);
  });
});

describe("texts with half a surrogate pair", () => {
  it("are refused in a body, before anyone makes a path of them", async () => {
    const started = await start();
    const body = '{"mfa_request_id":"\\ud800"}';
    const answer = await ask(started, "/v1/sys/mfa/validate", { method: "POST", body });
    expect(answer.status).toBe(400);
    expect(answer.text).toContain("surrogate");
    expect(started.seen).toEqual([]);
  });

  it("cannot come in by a path, a query or a form", async () => {
    const started = await start();
    expect((await ask(started, "/v1/a%ED%A0%80")).status).toBe(400);
    await ask(started, "/v1/a?x=%ED%A0%80");
    const headers = { "Content-Type": "application/x-www-form-urlencoded" };
    await ask(started, "/v1/a", { method: "POST", headers, body: "x=%ED%A0%80" });
    expect(started.seen.map(({ data }) => String(data["x"]).isWellFormed())).toEqual([true, true]);
  });
});

const UPGRADE =
  "GET /v1/sys/events/subscribe/a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

describe("an upgrade that comes to nothing", () => {
  const refuse = async (): Promise<Answer> => ({
    status: 403,
    contentType: "application/json",
    body: '{"errors":[]}\n',
  });
  const LIST = "LIST /v1/a HTTP/1.1\r\nHost: a\r\n\r\n";

  it.each([
    ["an ordinary connection", ""],
    ["a connection that said LIST before", LIST],
  ])("is answered, and the server closes %s though the client does not", async (_, before) => {
    const started = await start({
      serve: async (request) =>
        request.upgrade ? refuse() : { status: 200, contentType: "application/json", body: '{"list":true}\n' },
    });
    const port = Number(new URL(started.listener.address).port);
    // Half open: it hears that the server has ended, and says nothing to that.
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    sockets.push(socket);
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    const has = async (pattern: RegExp) => {
      while (!pattern.test(text)) await systemClock.sleep(2);
    };
    if (before !== "") {
      socket.write(before);
      await has(/"list":true/);
    }
    socket.write(UPGRADE);
    await has(/HTTP\/1\.1 403 [\s\S]*errors/);
    // Only a closed socket answers what is written with a reset.
    socket.on("error", () => undefined);
    for (let i = 0; i < 100 && !socket.destroyed; i++) {
      socket.write("x");
      await systemClock.sleep(10);
    }
    expect(socket.destroyed).toBe(true);
  });

  it("is cut off from a client that does not read its answer", async () => {
    const body = "x".repeat(32 * 1024 * 1024);
    const started = await start({ serve: async () => ({ status: 403, contentType: "application/json", body }) });
    const { socket } = dial(started);
    socket.on("error", () => undefined).pause();
    socket.write(UPGRADE);
    await systemClock.sleep(100);
    await started.clock.advance(2_500);
    let isClosed = false;
    const closing = started.listener.close().then(() => {
      isClosed = true;
    });
    for (let i = 0; i < 100 && !isClosed; i++) {
      await systemClock.sleep(5);
      await started.clock.advance(1);
    }
    expect(isClosed).toBe(true);
    await closing;
    opened.splice(opened.indexOf(started), 1);
  });

  it("is answered with 503 when the core takes too long", async () => {
    const finish = new AbortController();
    const started = await start({
      serve: async () => {
        await once(finish.signal, "abort");
        return refuse();
      },
    });
    const { socket, until } = dial(started);
    socket.write(UPGRADE);
    await systemClock.sleep(30);
    await started.clock.advance(30_500);
    expect(await until(/errors/)).toMatch(/HTTP\/1\.1 503 [\s\S]*Connection: close/);
    await closed(socket);
    finish.abort();
  });
});

describe("a listener that wants the header X-Vault-Request", () => {
  it("refuses requests without", async () => {
    const started = await start({ config: { requireRequestHeader: true } });
    expect((await ask(started, "/v1/a")).status).toBe(412);
    expect((await ask(started, "/v1/a", { headers: { "X-Vault-Request": "true" } })).status).toBe(200);
    expect(started.seen).toHaveLength(1);
  });
});

describe("pages of other origins", () => {
  const rules = { origins: ["https://a.example"], headers: ["X-Vault-Token"], credentials: false };
  const from = (origin: string, more: Record<string, string> = {}) => ({ headers: { Origin: origin, ...more } });

  it("are not treated in any way without a configuration", async () => {
    const answer = await ask(await start(), "/v1/a", from("https://b.example"));
    expect(answer.status).toBe(200);
    expect(answer.headers.get("access-control-allow-origin")).toBe(null);
  });

  it("may read when they are allowed, and are refused otherwise", async () => {
    const started = await start({ rules });
    const answer = await ask(started, "/v1/a", from("https://a.example"));
    expect(answer.headers.get("access-control-allow-origin")).toBe("https://a.example");
    expect(answer.headers.get("vary")).toBe("Origin");
    expect(answer.headers.get("access-control-allow-credentials")).toBe(null);
    const trusting = await ask(
      await start({ rules: { ...rules, credentials: true } }),
      "/v1/a",
      from("https://a.example"),
    );
    expect(trusting.headers.get("access-control-allow-credentials")).toBe("true");
    expect((await ask(started, "/v1/a", from("https://b.example"))).status).toBe(403);
    expect((await ask(started, "/v1/a")).headers.get("access-control-allow-origin")).toBe(null);
    expect(started.seen).toHaveLength(2);
  });

  it.each([
    ["PUT", 200],
    ["TRACE", 405],
  ])("learn by a preflight whether they may %s", async (method, status) => {
    const started = await start({ rules });
    const init = { method: "OPTIONS", ...from("https://a.example", { "Access-Control-Request-Method": method }) };
    const answer = await ask(started, "/v1/a", init);
    expect(answer.status).toBe(status);
    if (status === 200) expect(answer.headers.get("access-control-allow-headers")).toBe("X-Vault-Token");
    expect(started.seen).toEqual([]);
  });
});

describe("metrics", () => {
  it("are shown without a token where the listener says so, and nothing but they", async () => {
    const started = await start({ config: { unauthenticatedMetrics: true } });
    const shown = await ask(started, "/v1/sys/metrics?format=prometheus");
    expect([shown.status, shown.text]).toEqual([200, METRICS]);
    expect(shown.headers.get("content-type")).toContain("text/plain");
    const asJson = await ask(started, "/v1/sys/metrics");
    expect([asJson.status, asJson.headers.get("content-type")]).toEqual([200, "application/json"]);
    expect((await ask(started, "/v1/sys/metrics?format=xml")).status).toBe(400);
    await ask(started, "/v1/sys/metrics/x");
    await ask(started, "/v1/sys/metricsx");
    expect(started.seen.map(({ path }) => path)).toEqual(["sys/metrics/x", "sys/metricsx"]);
  });

  it("are the API's otherwise", async () => {
    const started = await start();
    await ask(started, "/v1/sys/metrics");
    expect(started.seen.map(({ path }) => path)).toEqual(["sys/metrics"]);
  });
});

describe("what is taken without a token", () => {
  it("is said to the core for requests that come by this listener", async () => {
    const started = await start({ config: { unauthenticatedRekey: true } });
    await ask(started, "/v1/sys/rekey/init");
    expect(started.seen.map(({ openForms }) => openForms)).toEqual([["rekey"]]);
  });

  it("is nothing otherwise", async () => {
    const started = await start();
    await ask(started, "/v1/sys/rekey/init");
    expect(started.seen.map(({ openForms }) => openForms)).toEqual([undefined]);
  });
});
