import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { acceptListMethod, LIST_STAND_IN } from "./list-method.ts";

/** What a server answers to these bytes; the connection is closed after each answer. */
async function exchange(request: string): Promise<string> {
  const server = createServer((message, response) => {
    response.setHeader("Connection", "close");
    message.on("data", () => {}).on("end", () => response.end(`${message.method} ${message.url}`));
  });
  acceptListMethod(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("a TCP server has a port");
  try {
    const socket = connect(bound.port, "127.0.0.1");
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    socket.write(request);
    await once(socket, "close");
    return text;
  } finally {
    server.close();
  }
}

describe("methods that Node's parser does not know", () => {
  it("takes LIST as its stand-in", async () => {
    expect(await exchange("LIST /v1/secret HTTP/1.1\r\nHost: a\r\n\r\n")).toContain(`${LIST_STAND_IN} /v1/secret`);
  });

  it("leaves a body alone that begins with the same letters", async () => {
    const body = "LIST /v1/secret";
    const request = `POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`;
    expect(await exchange(request + body)).toContain("POST /v1/a");
  });

  it.each([
    ["FOO /v1/a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 "],
    ["\x16\x03\x01\x02\x00 no HTTP\r\n\r\n", "HTTP/1.1 400 "],
    [`GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, "HTTP/1.1 431 "],
  ])("answers %j", async (request, status) => {
    expect(await exchange(request)).toContain(status);
  });
});
