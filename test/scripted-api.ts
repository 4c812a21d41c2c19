// An HTTP server on a free port that answers as a test tells it to and remembers what it was asked. For tests of the
// client, the CLI and the agent; it knows nothing of the API itself.
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { type JsonValue, parseJson } from "#common/json.ts";

export interface SeenRequest {
  readonly method: string;
  /** Decoded path below "/v1/". */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingHttpHeaders;
  readonly body: JsonValue | undefined;
}
export interface ScriptedAnswer {
  readonly status: number;
  readonly body?: JsonValue | undefined;
  /** Instead of `body`, sent as it is. */
  readonly text?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}
/** Gives the answer, or "cut" to close the connection, or "hang" never to answer. */
export type Script = (request: SeenRequest) => ScriptedAnswer | "cut" | "hang";

export interface ScriptedApi extends AsyncDisposable {
  readonly address: string;
  readonly seen: SeenRequest[];
  script: Script;
}

/** Starts the server; `await using` ends it. */
export async function startScriptedApi(script: Script): Promise<ScriptedApi> {
  const api = { script, seen: [] as SeenRequest[] };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(request.url ?? "/", "http://test");
      const text = Buffer.concat(chunks).toString("utf8");
      const seen: SeenRequest = {
        method: request.method ?? "",
        path: decodeURIComponent(url.pathname).replace(/^\/v1\//, ""),
        query: Object.fromEntries(url.searchParams),
        headers: request.headers,
        body: text === "" ? undefined : parseJson(text),
      };
      api.seen.push(seen);
      const answer = api.script(seen);
      if (answer === "hang") return;
      if (answer === "cut") {
        request.socket.destroy();
        return;
      }
      response.writeHead(answer.status, { "Content-Type": "application/json", ...answer.headers });
      response.end(answer.text ?? (answer.body === undefined ? "" : JSON.stringify(answer.body)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // A TCP server that listens has an address object, never a pipe's name.
  const { port } = server.address() as AddressInfo;
  return Object.assign(api, {
    address: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** An answer's body in the envelope of the API. */
export function enveloped(data: JsonValue, rest: { readonly [key: string]: JsonValue } = {}): ScriptedAnswer {
  const empty = { lease_id: "", renewable: false, lease_duration: 0, wrap_info: null, warnings: null, auth: null };
  return { status: 200, body: { request_id: "r1", ...empty, data, ...rest } };
}

/** A refusal as the API sends it. */
export function refused(status: number, ...errors: string[]): ScriptedAnswer {
  return { status, body: { errors } };
}

/** The auth block of a login. */
export function authBlock(token: string, ttlSeconds: number, renewable = true): JsonValue {
  return { client_token: token, accessor: `a-${token}`, policies: ["default"], lease_duration: ttlSeconds, renewable };
}
