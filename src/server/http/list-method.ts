// Node's HTTP parser knows no method LIST, which some clients of Vault send (hvac by default): it stops with
// HPE_INVALID_METHOD. The request is then given to a new parser with LIST rewritten to LINK, a method that the parser
// knows, of the same length, and that no client of this API uses. Only connections that send LIST pay for it, and a
// body that happens to begin with these bytes is never touched: the error arises at a request line only.
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/** What a rewritten LIST arrives as. */
export const LIST_STAND_IN = "LINK";
const LIST = Buffer.from("LIST ");
const BAD_REQUEST = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const METHOD_NOT_ALLOWED = "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const HEADERS_TOO_LARGE =
  "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

interface ParserError extends Error {
  readonly code?: string;
  /** The bytes that the parser was given when it stopped. */
  readonly rawPacket?: Buffer;
}

/** Lets a server take LIST. Also answers what is no HTTP at all. */
export function acceptListMethod(server: Server): void {
  server.on("clientError", (error: ParserError, socket: Duplex) => {
    const { rawPacket } = error;
    if (error.code === "HPE_INVALID_METHOD" && rawPacket?.subarray(0, LIST.length).equals(LIST)) {
      server.emit("connection", new RewrittenConnection(socket, rawPacket));
      return;
    }
    if (!socket.writable || socket.destroyed) return;
    socket.end(refusalOf(error));
  });
}

/** A method that nobody knows is one in letters; anything else (a TLS greeting, noise) is no HTTP. */
function refusalOf({ code, rawPacket }: ParserError): string {
  if (code === "HPE_HEADER_OVERFLOW") return HEADERS_TOO_LARGE;
  const isRequest =
    code === "HPE_INVALID_METHOD" && /^[A-Z-]{1,32} \//.test(rawPacket?.toString("latin1", 0, 40) ?? "");
  return isRequest ? METHOD_NOT_ALLOWED : BAD_REQUEST;
}

/** The socket again, with the packet that the parser choked on put back in its other spelling. */
class RewrittenConnection extends Duplex {
  readonly #socket: Duplex;
  constructor(socket: Duplex, packet: Buffer) {
    super();
    this.#socket = socket;
    // The old parser's listeners go; adding a "data" listener takes the handle back from it.
    for (const event of ["data", "end", "error", "timeout", "drain"]) socket.removeAllListeners(event);
    const rewritten = Buffer.from(packet);
    rewritten.write(LIST_STAND_IN, "latin1");
    this.push(rewritten);
    socket.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause();
    });
    socket.on("end", () => this.push(null));
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.destroy());
    socket.resume();
  }
  override _read(): void {
    this.#socket.resume();
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }
  override _final(done: () => void): void {
    this.#socket.end(done);
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
  // The HTTP server treats a connection as a net.Socket in these few respects.
  get remoteAddress(): string | undefined {
    return asSocket(this.#socket)?.remoteAddress;
  }
  get remotePort(): number | undefined {
    return asSocket(this.#socket)?.remotePort;
  }
  setTimeout(millis: number, onTimeout?: () => void): this {
    asSocket(this.#socket)?.setTimeout(millis, onTimeout);
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
}

/** A connection under several rewritten ones has the address of the socket at the bottom. */
function asSocket(stream: Duplex): Pick<Socket, "remoteAddress" | "remotePort" | "setTimeout"> | undefined {
  return "remoteAddress" in stream && "setTimeout" in stream ? (stream as Socket) : undefined; // both members were just seen
}
