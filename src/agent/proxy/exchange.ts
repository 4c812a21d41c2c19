// What goes through the proxy: a request of the pod and its answer, as values. Reads requests within limits; knows
// nothing of the cache and of the server.
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { CofferError, messageOf } from "#common/errors.ts";

/** A secret has 1 MiB at most; the rest is for what transit encrypts. The agent has little memory. */
export const BODY_BYTES_MAX = 4 * 1024 * 1024;
/** All bodies that are held at a time. */
export const BODIES_BYTES_MAX = 16 * 1024 * 1024;

export interface ProxyRequest {
  /** As it was sent, LIST included. */
  readonly method: string;
  /** Logical: without "/v1/" and query. */
  readonly path: string;
  /** From "/v1/" on, with its query, as it was sent. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  /** The request's own, or the agent's. */
  readonly token: string | undefined;
  /** Whether the agent added its token. */
  readonly isAutoAuth: boolean;
  readonly namespace: string | undefined;
  readonly body: Buffer;
}

export interface ProxyAnswer {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
  /** What follows `body`, when the answer is too large to be held, or goes on. */
  readonly rest?: IncomingMessage;
}

/** Counts the bytes of bodies that are held, for all requests of an agent together. */
export class BodyBudget {
  #held = 0;

  /** Gives the body; it counts until the response is closed. Throws `too_large`, `unavailable`. */
  async read(message: IncomingMessage, response: ServerResponse): Promise<Buffer> {
    let size = 0;
    response.once("close", () => {
      this.#held -= size;
    });
    const chunks: Buffer[] = [];
    for await (const chunk of message.iterator({ destroyOnReturn: false })) {
      const bytes = Buffer.from(chunk);
      size += bytes.length;
      this.#held += bytes.length;
      if (size > BODY_BYTES_MAX) {
        throw new CofferError("too_large", `the request's body is larger than ${BODY_BYTES_MAX} bytes`);
      }
      if (this.#held > BODIES_BYTES_MAX) throw new CofferError("unavailable", "too many large requests at a time");
      chunks.push(bytes);
    }
    return Buffer.concat(chunks);
  }
}

/**
 * The logical path of a target ("/v1/secret/x?y" gives "secret/x"). Throws `not_found` for what is no path of the API,
 * and `invalid_request` for dots that would lead out of it: the agent's token must not reach what lies beside it.
 */
export function logicalPathOf(target: string): string {
  const [raw = ""] = target.split("?", 1);
  if (!raw.startsWith("/v1/")) throw new CofferError("not_found", "the paths of the API begin with /v1/");
  const path = decoded(raw.slice("/v1/".length));
  if (path.split(/[/\\]/).some((segment) => segment === "." || segment === "..")) {
    throw new CofferError("invalid_request", 'the path has a "." or ".." in it; write it out');
  }
  return path;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new CofferError("invalid_request", `the path is not encoded as URLs are: ${messageOf(cause)}`, { cause });
  }
}

/** The token that a request brings: X-Vault-Token, or a bearer's. */
export function ownToken(headers: IncomingHttpHeaders): string | undefined {
  const given = headers["x-vault-token"];
  if (typeof given === "string" && given !== "") return given;
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
}

export function ownNamespace(headers: IncomingHttpHeaders): string | undefined {
  const given = headers["x-vault-namespace"];
  return typeof given === "string" && given !== "" ? given : undefined;
}

/** An answer of the agent's own, in the shape of the API's refusals. */
export function refusal(error: unknown): ProxyAnswer {
  const status = error instanceof CofferError ? error.status : 500;
  // What else goes wrong may hold anything, and is the log's.
  const text = error instanceof CofferError ? error.message : "the agent failed; its log says how";
  return jsonAnswer(status, { errors: [text] });
}

export function jsonAnswer(status: number, document: object): ProxyAnswer {
  const body = Buffer.from(`${JSON.stringify(document)}\n`);
  return { status, headers: { "content-type": "application/json", "cache-control": "no-store" }, body };
}

export const NO_CONTENT: ProxyAnswer = { status: 204, headers: { "cache-control": "no-store" }, body: Buffer.alloc(0) };

/** Sends it; what is left of it is piped. */
export function sendAnswer(response: ServerResponse, { status, headers, body, rest }: ProxyAnswer): void {
  if (response.destroyed) return void rest?.destroy();
  response.writeHead(status, rest === undefined ? { ...headers, "content-length": body.length } : headers);
  if (rest === undefined) return void response.end(body);
  response.write(body);
  response.once("close", () => rest.destroy());
  rest.once("error", () => response.destroy());
  rest.pipe(response);
}
