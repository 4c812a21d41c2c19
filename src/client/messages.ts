// Text messages from a path of the API over a WebSocket (RFC 6455): events. Framing is the package ws's, which is loaded
// when the first such connection is made.
import type { IncomingMessage } from "node:http";
import type { Millis } from "#common/clock.ts";
import { parseJson } from "#common/json.ts";
import { ApiError } from "./api-error.ts";
import { errorLines } from "./envelope.ts";
import { classify, type TlsOptions, TransportError, tlsSettings } from "./transport.ts";

/** An event is a few kilobytes at most: its paths have a limit. */
const MESSAGE_BYTES_MAX = 1024 * 1024;
/** While more is waiting than this, nothing is read: the server keeps the rest, or ends the connection. */
const WAITING_MAX = 100;
const REFUSAL_BYTES_MAX = 64 * 1024;

export interface MessagesRequest {
  /** With the scheme http: or https:. */
  readonly url: URL;
  /** The logical path, for errors. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsOptions;
  /** For the handshake. */
  readonly timeoutMillis: Millis;
  readonly signal?: AbortSignal | undefined;
  /** Called when the connection is there. */
  readonly onOpen?: (() => void) | undefined;
}

/**
 * Connects, and gives messages as they come. Ends when the signal aborts; throws ApiError when the server refuses, ends
 * the connection, or cannot be reached.
 */
export async function* openMessages(request: MessagesRequest): AsyncGenerator<string> {
  const { WebSocket } = await import("ws");
  const waiting: string[] = [];
  let ended: ApiError | "aborted" | undefined;
  let wake = Promise.withResolvers<void>();
  const end = (how: ApiError | "aborted") => {
    ended ??= how;
    wake.resolve();
  };
  const socket = new WebSocket(request.url.href.replace(/^http/, "ws"), {
    ...tlsSettings(request.tls),
    headers: request.headers,
    handshakeTimeout: request.timeoutMillis,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
  });
  if (request.onOpen) socket.on("open", request.onOpen);
  socket.on("message", (data: Buffer) => {
    waiting.push(data.toString("utf8"));
    if (waiting.length > WAITING_MAX) socket.pause();
    wake.resolve();
  });
  socket.on("unexpected-response", (_asked, response) => void refusalOf(response, request).then(end));
  socket.on("error", (error) => end(noConnection(error, request)));
  socket.on("close", (code, reason) => end(closing(code, reason.toString("utf8"), request)));
  const abort = () => end("aborted");
  request.signal?.addEventListener("abort", abort, { once: true });
  if (request.signal?.aborted) abort();
  try {
    for (;;) {
      for (let text = waiting.shift(); text !== undefined; text = waiting.shift()) yield text;
      socket.resume();
      if (ended === "aborted") return;
      if (ended) throw ended;
      await wake.promise;
      wake = Promise.withResolvers<void>();
    }
  } finally {
    request.signal?.removeEventListener("abort", abort);
    socket.terminate();
  }
}

async function refusalOf(response: IncomingMessage, request: MessagesRequest): Promise<ApiError> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    if (!Buffer.isBuffer(chunk)) continue;
    chunks.push(chunk);
    size += chunk.length;
    if (size > REFUSAL_BYTES_MAX) break;
  }
  return failure(request, response.statusCode ?? 0, linesOf(Buffer.concat(chunks).toString("utf8")));
}

function linesOf(text: string): readonly string[] {
  try {
    return errorLines(parseJson(text));
  } catch {
    return []; // a proxy's page
  }
}

function noConnection(error: Error, request: MessagesRequest): ApiError {
  const known = classify(error);
  const connection = known instanceof TransportError ? known.failure : "closed";
  return new ApiError({ ...placeOf(request), status: 0, errors: [error.message], connection, cause: error });
}

function closing(code: number, reason: string, request: MessagesRequest): ApiError {
  return new ApiError({ ...placeOf(request), status: 0, errors: [`${reason} (${code})`.trim()], connection: "closed" });
}

function failure(request: MessagesRequest, status: number, errors: readonly string[]): ApiError {
  return new ApiError({ ...placeOf(request), status, errors });
}

function placeOf({ url, path }: MessagesRequest) {
  return { method: "GET", path, address: url.origin };
}
