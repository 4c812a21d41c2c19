import { once } from "node:events";
import { Agent, createServer, get, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { createTestAuthority } from "#test/kit/tls-pair.ts";
import { systemClock } from "../clock.ts";
import { acceptListMethod, methodOf } from "./list-method.ts";

const LIST = "LIST /v1/secret HTTP/1.1\r\nHost: a\r\n\r\n";
const GET = "GET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n";
const running: Server[] = [];
const clients: Socket[] = [];

/** Answers "METHOD path body", after `?wait=` milliseconds. */
function answer(message: IncomingMessage, response: ServerResponse): void {
  let body = "";
  message.on("data", (chunk: Buffer) => {
    body += chunk.toString("latin1");
  });
  message.on("end", async () => {
    const url = new URL(message.url ?? "/", "http://a");
    await systemClock.sleep(Number(url.searchParams.get("wait") ?? 0));
    response.end(`[${methodOf(message)} ${url.pathname} ${body}]`);
  });
}

async function start(server: Server = createServer(answer)): Promise<number> {
  acceptListMethod(server);
  running.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("a TCP server has a port");
  return bound.port;
}

/** A client that writes and waits for texts. */
class Client {
  readonly socket: Socket;
  text = "";
  constructor(socket: Socket) {
    this.socket = socket;
    clients.push(socket);
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      this.text += chunk.toString("latin1");
    });
    socket.on("error", () => {});
  }
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.text)) {
      if (this.socket.closed) throw new Error(`closed before ${pattern}: ${JSON.stringify(this.text)}`);
      await systemClock.sleep(2);
    }
    return this.text;
  }
  /** The bodies so far. */
  get bodies(): readonly string[] {
    return this.text.match(/\[[^\]]*\]/g) ?? [];
  }
}

async function open(port?: number): Promise<Client> {
  return new Client(connect(port ?? (await start()), "127.0.0.1"));
}

/** Everything until the server closes. */
async function exchange(...packets: readonly string[]): Promise<string> {
  const client = await open();
  for (const packet of packets) {
    client.socket.write(packet);
    await systemClock.sleep(2);
  }
  if (!client.socket.closed) await once(client.socket, "close");
  return client.text;
}

afterEach(() => {
  for (const socket of clients.splice(0)) socket.destroy();
  for (const server of running.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

describe("methods that Node's parser does not know", () => {
  it.each(["LIST", "SCAN", "HELP"])("takes %s", async (method) => {
    const client = await open();
    client.socket.write(`${method} /v1/secret HTTP/1.1\r\nHost: a\r\n\r\n`);
    await client.until(/\]/);
    expect(client.bodies).toEqual([`[${method} /v1/secret ]`]);
  });

  it("keeps the connection, for several of them and for other methods between", async () => {
    const client = await open();
    for (const [i, request] of [LIST, LIST, GET, LIST, GET].entries()) {
      client.socket.write(request);
      while (client.bodies.length <= i) await systemClock.sleep(1);
    }
    expect(client.bodies).toEqual([
      "[LIST /v1/secret ]",
      "[LIST /v1/secret ]",
      "[GET /v1/a ]",
      "[LIST /v1/secret ]",
      "[GET /v1/a ]",
    ]);
    expect(client.text).toContain("Connection: keep-alive");
  });

  it("takes it after a GET of a client with a connection pool", async () => {
    const port = await start();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = (path: string) =>
      new Promise<string>((resolve, reject) => {
        get({ port, host: "127.0.0.1", path, agent }, (answered) => {
          answered.on("data", (chunk: Buffer) => resolve(chunk.toString()));
        }).on("error", reject);
      });
    expect(await ask("/v1/one")).toBe("[GET /v1/one ]");
    expect(await ask("/v1/two")).toBe("[GET /v1/two ]");
    agent.destroy();
  });

  it("answers pipelined requests in their order, slow ones too", async () => {
    const client = await open();
    const slow = "GET /v1/slow?wait=60 HTTP/1.1\r\nHost: a\r\n\r\n";
    const post = "POST /v1/p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nLIST ";
    client.socket.write(slow + LIST + post + LIST + LIST + GET);
    await client.until(/GET \/v1\/a/);
    expect(client.bodies).toEqual([
      "[GET /v1/slow ]",
      "[LIST /v1/secret ]",
      "[POST /v1/p LIST ]",
      "[LIST /v1/secret ]",
      "[LIST /v1/secret ]",
      "[GET /v1/a ]",
    ]);
  });

  it("takes it byte by byte, alone and behind another request", async () => {
    const client = await open();
    for (const byte of LIST + GET + LIST) {
      client.socket.write(byte);
      await systemClock.sleep(0);
    }
    while (client.bodies.length < 3) await systemClock.sleep(1);
    expect(client.bodies).toEqual(["[LIST /v1/secret ]", "[GET /v1/a ]", "[LIST /v1/secret ]"]);
  });

  it.each([1, 2, 3, 4, 5, 6])("takes it split after %i bytes", async (at) => {
    const client = await open();
    client.socket.write(LIST.slice(0, at));
    await systemClock.sleep(5);
    client.socket.write(LIST.slice(at));
    await client.until(/\]/);
    expect(client.bodies).toEqual(["[LIST /v1/secret ]"]);
  });

  it("leaves a body alone that begins with the same letters", async () => {
    const client = await open();
    const body = "LIST /v1/secret HTTP/1.1\r\n\r\n";
    client.socket.write(`POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`);
    await systemClock.sleep(5);
    client.socket.write(body);
    await client.until(/\]/);
    expect(client.bodies).toEqual([`[POST /v1/a ${body}]`]);
  });

  it("takes LIST with a body, and a body behind a LIST", async () => {
    const client = await open();
    client.socket.write("LIST /v1/b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    await client.until(/\]/);
    client.socket.write("POST /v1/c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nLIST \r\n0\r\n\r\n");
    await client.until(/POST/);
    expect(client.bodies).toEqual(["[LIST /v1/b abc]", "[POST /v1/c LIST ]"]);
  });

  it("takes LIST of HTTP/1.0 and closes behind it", async () => {
    expect(await exchange("LIST /v1/secret HTTP/1.0\r\n\r\n")).toContain("[LIST /v1/secret ]");
  });

  it("is not LIST when a client sends the word that stands for it", async () => {
    const client = await open();
    client.socket.write("LINK /v1/secret HTTP/1.1\r\nHost: a\r\n\r\n");
    await client.until(/\]/);
    expect(client.bodies).toEqual(["[LINK /v1/secret ]"]);
  });

  it("takes LIST over TLS, with the client's address", async () => {
    const authority = await createTestAuthority();
    const { cert, key } = await authority.server("localhost");
    const port = await start(
      createTlsServer({ cert, key }, (message, response) => {
        response.end(`[${methodOf(message)} ${message.socket.remoteAddress}]`);
      }),
    );
    const client = new Client(connectTls({ port, host: "127.0.0.1", ca: authority.cert, servername: "localhost" }));
    client.socket.write(LIST.slice(0, 3));
    await systemClock.sleep(20);
    client.socket.write(LIST.slice(3) + LIST);
    while (client.bodies.length < 2) await systemClock.sleep(1);
    expect(client.bodies).toEqual(["[LIST 127.0.0.1]", "[LIST 127.0.0.1]"]);
  });
});

describe("what is no request", () => {
  it.each([
    ["FOO /v1/a HTTP/1.1\r\nHost: a\r\n\r\n", 405],
    [`${GET}FOO /v1/a HTTP/1.1\r\n\r\n`, 405],
    ["\x16\x03\x01\x02\x00 no HTTP\r\n\r\n", 400],
    ["LIST", 400],
    ["LISP /v1/a HTTP/1.1\r\n\r\n", 405],
    ["LIST no-http\r\n\r\n", 400],
    ["list /v1/a HTTP/1.1\r\n\r\n", 400],
    [`GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, 431],
    [`LIST / HTTP/1.1\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, 431],
  ])("answers %j with %i and closes", async (request, status) => {
    const client = await open();
    client.socket.write(request);
    if (request === "LIST") client.socket.end();
    await once(client.socket, "close");
    expect(client.text).toContain(`HTTP/1.1 ${status} `);
    expect(client.text).toMatch(/\{"errors":\[.*\]\}\n$/);
  });

  it("does not cut through an answer that is under way", async () => {
    const text = await exchange("GET /v1/slow?wait=50 HTTP/1.1\r\nHost: a\r\n\r\n\x00\x00\x00");
    expect(text).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*\[GET \/v1\/slow \]HTTP\/1\.1 400 /);
  });

  it.each([
    ["is no chunk", "Transfer-Encoding: chunked\r\n\r\nzz\r\n", false],
    ["ends too early", "Content-Length: 9\r\n\r\nabc", true],
  ])("answers a body that %s at once", async (_what, rest, isEnd) => {
    const client = await open();
    client.socket.write(`POST /v1/a HTTP/1.1\r\nHost: a\r\n${rest}`);
    if (isEnd) client.socket.end();
    if (!client.socket.closed) await once(client.socket, "close");
    expect(client.text).toContain("HTTP/1.1 400 ");
  });

  it("refuses half a word that turns out to be another", async () => {
    expect(await exchange("LI", "S", "P /v1 HTTP/1.1\r\n\r\n")).toContain("HTTP/1.1 400 ");
  });
});

describe("connections end", () => {
  it("when the client leaves", async () => {
    const port = await start();
    const server = running[0];
    for (let i = 0; i < 20; i++) {
      const client = await open(port);
      client.socket.write(i % 3 === 0 ? LIST.slice(0, 3) : LIST + LIST);
      if (i % 3 !== 0) await client.until(/\][\s\S]*\]/);
      client.socket.destroy();
    }
    const left = () => new Promise<number>((resolve) => server?.getConnections((_error, count) => resolve(count)));
    while ((await left()) > 0) await systemClock.sleep(5);
    expect(await left()).toBe(0);
  });

  it("when the server closes, idle ones at once", async () => {
    const port = await start();
    const client = await open(port);
    client.socket.write(LIST);
    await client.until(/\]/);
    const closed = once(client.socket, "close");
    await new Promise<void>((resolve) => running[0]?.close(() => resolve()));
    await closed;
    expect(client.socket.closed).toBe(true);
  });

  it("when they are idle for longer than the server keeps them", async () => {
    const client = await open(await start(createServer({ keepAliveTimeout: 30, keepAliveTimeoutBuffer: 1 }, answer)));
    client.socket.write(LIST);
    await client.until(/\]/);
    await once(client.socket, "close");
    expect(client.bodies).toEqual(["[LIST /v1/secret ]"]);
  });

  it("when the headers take too long, and not because an earlier parser waited in vain", async () => {
    const limits = { headersTimeout: 60, requestTimeout: 120, connectionsCheckingInterval: 10 };
    const port = await start(createServer(limits, answer));
    const slow = await open(port);
    slow.socket.write("LIS");
    const patient = await open(port);
    patient.socket.write(LIST);
    await once(slow.socket, "close");
    expect(slow.text).toContain("HTTP/1.1 408 ");
    await systemClock.sleep(150);
    patient.socket.write(LIST);
    await patient.until(/\][\s\S]*\]/);
    expect(patient.bodies).toHaveLength(2);
  });
});
