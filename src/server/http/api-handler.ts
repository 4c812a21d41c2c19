// One HTTP exchange with the API: decode, let the core serve, send. Every answer has the headers that clients and
// caches rely on.
import type { IncomingMessage, ServerResponse } from "node:http";
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { encodeError } from "../core/encode.ts";
import type { Answer, Request } from "../core/request.ts";
import { type DecodeOptions, decodeRequest } from "./decode-request.ts";

export interface ApiHandlerOptions {
  readonly serve: (request: Request) => Promise<Answer>;
  readonly log: Log;
  readonly bodyBytesMax: number;
  readonly requestSecondsMax: number;
  readonly isTls: boolean;
  /** The client's address behind proxies that the listener believes. */
  readonly clientAddress: (message: IncomingMessage) => string;
}

/** Handles a request whose path begins with "/v1/". Never rejects. */
export async function handleApi(
  message: IncomingMessage,
  response: ServerResponse,
  options: ApiHandlerOptions,
): Promise<void> {
  const url = message.url ?? "/";
  const clean = cleanPath(url);
  if (clean !== undefined) {
    response.writeHead(307, { Location: clean, "Cache-Control": "no-store" }).end();
    return;
  }
  const answer = await answerTo(message, url.slice("/v1/".length), options);
  send(message, response, answer, options);
}

async function answerTo(message: IncomingMessage, target: string, options: ApiHandlerOptions): Promise<Answer> {
  try {
    const decode: DecodeOptions = { bodyBytesMax: options.bodyBytesMax, remoteAddress: options.clientAddress(message) };
    const request = await decodeRequest(message, target, decode);
    if (message.method === "HEAD" && !/^sys\/health$/.test(request.path))
      throw new CofferError("unsupported_operation", "");
    return await options.serve(request);
  } catch (error) {
    return encodeError(error, { id: "", path: "" }, options.log);
  }
}

function send(message: IncomingMessage, response: ServerResponse, answer: Answer, options: ApiHandlerOptions): void {
  if (response.destroyed) return;
  const namespace = message.headers["x-vault-namespace"];
  response.writeHead(answer.status, {
    "Cache-Control": "no-store",
    "Content-Type": answer.contentType,
    ...(answer.body !== undefined && { "Content-Length": Buffer.byteLength(answer.body) }),
    ...(options.isTls && { "Strict-Transport-Security": "max-age=31536000; includeSubDomains" }),
    ...(typeof namespace === "string" && { "X-Vault-Namespace": namespace }),
    // A body that was refused unread would be taken for the next request.
    ...(answer.status === 413 && { Connection: "close" }),
    ...answer.headers,
  });
  response.end(message.method === "HEAD" ? undefined : answer.body);
}

/** Where a path with "//", "." or ".." should have gone, or undefined when it is clean. */
export function cleanPath(url: string): string | undefined {
  const at = url.indexOf("?");
  const path = at < 0 ? url : url.slice(0, at);
  if (!/\/\/|\/\.{1,2}(\/|$)/.test(path)) return undefined;
  const parts: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "" || segment === ".") continue;
    if (segment === "..") parts.pop();
    else parts.push(segment);
  }
  return `/${parts.join("/")}${path.endsWith("/") && parts.length > 0 ? "/" : ""}${at < 0 ? "" : url.slice(at)}`;
}
