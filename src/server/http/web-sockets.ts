// Requests that go on as a WebSocket (RFC 6455): the core serves them like any other, and when its answer is a stream,
// what is in it is sent as text messages until one side ends it. Framing is the package ws's.
import { type IncomingMessage, type Server, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { encodeError } from "../core/encode.ts";
import type { EventStream } from "../core/event-stream.ts";
import type { Answer } from "../core/request.ts";
import { type ApiHandlerOptions, assertRequestHeader } from "./api-handler.ts";
import { cleanPath } from "./clean-path.ts";
import { decodeRequest } from "./decode-request.ts";

/** Clients have nothing to say but control frames. */
const MESSAGE_BYTES_MAX = 1_024;
/** Shorter than the idle time of common proxies; a client that answers no ping until the next is gone. */
const PING_MILLIS = 30_000;
/** For the other side's part of a closing handshake when the server stops. */
const CLOSE_MILLIS_MAX = 2_000;
/** For the other side to take a refusal; it fits the system's buffers, so who needs longer does not read at all. */
const REFUSAL_MILLIS_MAX = 2_000;
/** RFC 6455 7.4.1. */
const GOING_AWAY = 1001;
const INTERNAL_ERROR = 1011;

/** Whether a request may become a stream; everything else is answered as HTTP, whatever it wants to upgrade to. */
export function isStreamRequest(message: IncomingMessage): boolean {
  const url = message.url ?? "";
  const isSocket = message.method === "GET" && message.headers.upgrade?.toLowerCase() === "websocket";
  return isSocket && /^\/v1\/(?:[^?]*\/)?sys\/events\/subscribe\//.test(url) && cleanPath(url) === undefined;
}

export class WebSockets {
  readonly #options: ApiHandlerOptions & { readonly clock: Clock };
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: MESSAGE_BYTES_MAX, perMessageDeflate: false });
  #isClosed = false;

  /** Takes over the upgrades of a server. */
  constructor(server: Server, options: ApiHandlerOptions & { readonly clock: Clock }) {
    this.#options = options;
    server.on("upgrade", (message: IncomingMessage, socket: Duplex, head: Buffer) => {
      // A client that goes away at any moment is no fault.
      socket.on("error", () => socket.destroy());
      void this.#upgrade(message, socket, head);
    });
  }

  /** Ends all streams, telling clients to connect elsewhere. */
  close(): void {
    this.#isClosed = true;
    const { clients } = this.#sockets;
    if (clients.size === 0) return;
    const gone = new AbortController();
    for (const socket of clients) {
      socket.once("close", () => {
        if (clients.size === 0) gone.abort();
      });
      socket.close(GOING_AWAY, "the server is stopping");
    }
    void this.#terminate(gone.signal);
  }

  /** Who does not answer must not hold up the end. */
  async #terminate(gone: AbortSignal): Promise<void> {
    await this.#options.clock.sleep(CLOSE_MILLIS_MAX, gone);
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  async #upgrade(message: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { deadlines } = this.#options;
    let isLate = false;
    const deadline = deadlines.begin(() => {
      isLate = true;
      void this.#refuse(socket, this.#failure(new CofferError("unavailable", "the request took too long; try again")));
    });
    const answer = await this.#answer(message);
    deadlines.end(deadline);
    const { stream } = answer;
    if (isLate) return stream?.close();
    if (!stream) return this.#refuse(socket, answer);
    if (this.#isClosed || socket.destroyed) {
      stream.close();
      socket.destroy();
      return;
    }
    // Also when the handshake itself is refused.
    socket.once("close", () => stream.close());
    this.#sockets.handleUpgrade(message, socket, head, (webSocket) => {
      void this.#send(webSocket, stream);
      void this.#watch(webSocket);
    });
  }

  async #answer(message: IncomingMessage): Promise<Answer> {
    const { serve, bodyBytesMax, clientAddress, requireRequestHeader } = this.#options;
    try {
      if (requireRequestHeader) assertRequestHeader(message);
      const target = (message.url ?? "").slice("/v1/".length);
      const remoteAddress = clientAddress(message);
      return await serve(await decodeRequest(message, target, { bodyBytesMax, remoteAddress, upgrade: "websocket" }));
    } catch (error) {
      return this.#failure(error);
    }
  }

  #failure(error: unknown): Answer {
    return encodeError(error, { id: "", path: "" }, this.#options.log);
  }

  /** Answers and closes: a server's sockets are half open, and would stay so until the client closes its side. */
  async #refuse(socket: Duplex, answer: Answer): Promise<void> {
    if (socket.destroyed) return;
    const closed = new AbortController();
    socket.once("close", () => closed.abort());
    socket.end(refusalOf(answer), () => socket.destroy());
    await this.#options.clock.sleep(REFUSAL_MILLIS_MAX, closed.signal);
    socket.destroy();
  }

  async #send(socket: WebSocket, stream: EventStream): Promise<void> {
    const closed = closingOf(socket);
    const until = AbortSignal.any([closed, stream.overflowed]);
    try {
      while (!closed.aborted) {
        const delivery = await stream.next(closed);
        if ("end" in delivery) return socket.close(delivery.end.code, delivery.end.reason);
        for (const text of delivery.texts) await sent(socket, text, until);
      }
    } catch (error) {
      this.#options.log.warn("a subscription ended", { error: messageOf(error) });
      socket.close(INTERNAL_ERROR, "the server failed; subscribe anew");
    } finally {
      stream.close();
    }
  }

  /** Ends a connection whose other side has gone without a word. */
  async #watch(socket: WebSocket): Promise<void> {
    const closed = closingOf(socket);
    let isAlive = true;
    socket.on("pong", () => {
      isAlive = true;
    });
    while (!closed.aborted) {
      await this.#options.clock.sleep(PING_MILLIS, closed);
      if (closed.aborted) return;
      if (!isAlive) return socket.terminate();
      isAlive = false;
      socket.ping();
    }
  }
}

function closingOf(socket: WebSocket): AbortSignal {
  const closed = new AbortController();
  socket.once("close", () => closed.abort());
  // Such as a message that is too long: ws closes the connection itself.
  socket.on("error", () => closed.abort());
  return closed.signal;
}

/** Until the system has taken the text, or there is no use in waiting any more. */
function sent(socket: WebSocket, text: string, until: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      until.removeEventListener("abort", done);
      resolve();
    };
    if (until.aborted) return resolve();
    until.addEventListener("abort", done);
    socket.send(text, done);
  });
}

function refusalOf({ status, contentType, body = "", headers = {} }: Answer): string {
  const all = {
    ...headers,
    "Cache-Control": "no-store",
    "Content-Type": contentType,
    "Content-Length": String(Buffer.byteLength(body)),
    Connection: "close",
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines.join("")}\r\n${body}`;
}
