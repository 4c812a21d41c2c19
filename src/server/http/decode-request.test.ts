// Targets and headers as bytes on a socket: what a client's own library would have escaped before.
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { messageOf } from "#common/errors.ts";
import { acceptListMethod } from "#common/http/list-method.ts";
import type { Request } from "../core/request.ts";
import { decodeRequest, PAGE_LIMIT_DEFAULT } from "./decode-request.ts";

let server: Server;
let decoded: Request | string | undefined;

beforeEach(async () => {
  server = createServer(async (message, response) => {
    const target = (message.url ?? "").slice("/v1/".length);
    decoded = await decodeRequest(message, target, { bodyBytesMax: 100, remoteAddress: "" }).catch(messageOf);
    response.end();
  });
  acceptListMethod(server);
  await once(server.listen(0, "127.0.0.1"), "listening");
});
afterEach(() => void server.close());

/** What a request line and headers are decoded to; the text of the error if they are refused. */
async function decode(line: string, ...headers: readonly string[]): Promise<Request | string | undefined> {
  const address = server.address();
  const socket = connect(typeof address === "object" && address ? address.port : 0, "127.0.0.1");
  socket.write([`${line} HTTP/1.1`, "Host: a", "Connection: close", ...headers, "", ""].join("\r\n"), "utf8");
  await once(socket.resume(), "close");
  return decoded;
}

describe("a request's target", () => {
  it("holds UTF-8 in percent encoding", async () => {
    const escaped = encodeURIComponent("é€😀");
    const expected = { path: "secret/data/é€😀", query: { after: "ü" }, operation: "list" };
    expect(await decode(`LIST /v1/secret/data/${escaped}?after=%C3%BC`)).toMatchObject(expected);
  });

  it.each(["%ff", "%c3", "%e2%82"])("may not hold other bytes (%s)", async (bytes) => {
    expect(await decode(`GET /v1/a/${bytes}`)).toBe("the path is not valid UTF-8 in percent encoding");
  });

  it("names a namespace in UTF-8, in the header too", async () => {
    expect(await decode("GET /v1/a", "X-Vault-Namespace: /équipe/")).toMatchObject({ namespace: "équipe" });
  });
});

describe("a page of a list", () => {
  it.each([
    ["", PAGE_LIMIT_DEFAULT],
    ["0", PAGE_LIMIT_DEFAULT],
    ["-1", PAGE_LIMIT_DEFAULT],
    ["7", 7],
    [String(PAGE_LIMIT_DEFAULT), PAGE_LIMIT_DEFAULT],
    [String(PAGE_LIMIT_DEFAULT + 1), PAGE_LIMIT_DEFAULT],
  ])("of limit %j has %i names", async (limit, names) => {
    expect(await decode(`LIST /v1/a?limit=${limit}`)).toMatchObject({ page: { limit: names } });
  });

  it.each(["abc", "1.5", "99999999999999999999", "1&limit=2"])("cannot have the limit %s", async (limit) => {
    expect(await decode(`LIST /v1/a?limit=${limit}`)).toContain('error converting input for field "limit"');
    expect(await decode(`GET /v1/a?limit=${limit}`)).toMatchObject({ page: { limit: PAGE_LIMIT_DEFAULT } });
  });
});

describe("the header that asks for wrapping", () => {
  it.each([
    ["60", 60],
    ["1m", 60],
    ["1ms", 1],
    ["0.5s", 1],
    ["0", 0],
    ["0s", 0],
  ])("%s is %i seconds: a little is not none", async (text, seconds) => {
    expect(await decode("GET /v1/a", `X-Vault-Wrap-TTL: ${text}`)).toMatchObject({ wrapTtlSeconds: seconds });
  });
});

describe("a body that is no JSON", () => {
  it("is refused by the character where it stops being it, a byte order mark too", async () => {
    const headers = ["Content-Length: 5", "", "\ufeff{}"];
    expect(await decode("POST /v1/a", ...headers)).toBe(
      "failed to decode JSON input: invalid character '\ufeff' looking for beginning of value",
    );
  });
});
