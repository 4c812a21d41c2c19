// The last word to a client whose bytes the HTTP parser could not take. Whoever calls sees to it that no earlier answer
// on the connection is cut through.
import type { Duplex } from "node:stream";

export interface ParserError extends Error {
  readonly code?: string;
  /** The bytes that the parser was given when it stopped. */
  readonly rawPacket?: Buffer;
  /** How many of them it had taken. */
  readonly bytesParsed?: number;
}

const REASONS = {
  400: "Bad Request",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  431: "Request Header Fields Too Large",
} as const;

/** What curl and shell scripts send unescaped; Node's parser takes no such byte (RFC 3986 2.1). */
const BAD_TARGET = "the request's target holds a space or a byte outside ASCII; send it in percent encoding";

/** Answers and closes. */
export function refuse(socket: Duplex, error: ParserError): void {
  if (!socket.writable || socket.destroyed) return void socket.destroy();
  const status = statusOf(error);
  const body = `${JSON.stringify({ errors: error.code === "HPE_INVALID_URL" ? [BAD_TARGET] : [] })}\n`;
  const head = [
    `HTTP/1.1 ${status} ${REASONS[status]}`,
    "Connection: close",
    "Cache-Control: no-store",
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}

function statusOf(error: ParserError): keyof typeof REASONS {
  if (error.code === "HPE_HEADER_OVERFLOW") return 431;
  if (error.code === "HPE_CHUNK_EXTENSIONS_OVERFLOW") return 413;
  if (error.code === "ERR_HTTP_REQUEST_TIMEOUT") return 408;
  return error.code === "HPE_INVALID_METHOD" && isRequestLine(error) ? 405 : 400;
}

/** A method that nobody knows is one in letters; anything else (a TLS greeting, noise) is no HTTP. */
function isRequestLine({ rawPacket, bytesParsed = 0 }: ParserError): boolean {
  const text = rawPacket?.toString("latin1") ?? "";
  const start = text.lastIndexOf("\n", bytesParsed - 1) + 1;
  return /^[A-Z-]{1,32} \//.test(text.slice(bytesParsed === 0 ? 0 : start));
}
