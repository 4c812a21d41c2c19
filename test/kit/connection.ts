// A client that keeps one connection, for tests where it matters which process of a server is at its other end. Knows
// HTTP and the API's envelope, nothing of what the server is made of.
import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";

export interface ConnectionAnswer {
  readonly status: number;
  readonly body: JsonObject;
  readonly text: string;
}

export interface Connection extends Disposable {
  /** Rejects when the connection breaks. */
  call(method: string, path: string, body?: JsonObject): Promise<ConnectionAnswer>;
  /** The same where it must succeed; gives the body. */
  must(method: string, path: string, body?: JsonObject): Promise<JsonObject>;
  /** The beginning of an answer that does not end. */
  stream(path: string): Promise<IncomingMessage>;
}

/** `token` "" is none; `ca`: of a server with TLS. */
export function connect(address: string, token = "", ca?: string): Connection {
  const options = { keepAlive: true, maxSockets: 1 };
  const agent = ca === undefined ? new Agent(options) : new TlsAgent({ ...options, ca });
  const headers = token === "" ? {} : { "X-Vault-Token": token };
  const start = (method: string, path: string): ClientRequest =>
    (ca === undefined ? request : tlsRequest)(`${address}/v1/${path}`, { agent, method, headers });
  const call: Connection["call"] = async (method, path, body) => {
    const response = await answered(start(method, path), body);
    const text = Buffer.concat(await response.toArray()).toString("utf8");
    return { status: response.statusCode ?? 0, text, body: text.startsWith("{") ? objectOf(text) : {} };
  };
  return {
    call,
    must: async (method, path, body) => {
      const answer = await call(method, path, body);
      if (answer.status >= 300) throw new Error(`${method} ${path} answered ${answer.status} ${answer.text}`);
      return answer.body;
    },
    stream: (path) => answered(start("GET", path), undefined),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

function answered(sent: ClientRequest, body: JsonObject | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once("response", resolve);
    sent.once("error", reject);
    sent.end(body && JSON.stringify(body));
  });
}

function objectOf(text: string): JsonObject {
  const value = parseJson(text);
  return isJsonObject(value) ? value : {};
}
