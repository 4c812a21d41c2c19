// Node's HTTP parser knows no method LIST, which some clients of Vault send (hvac by default), nor SCAN or HELP: it
// stops with HPE_INVALID_METHOD. The connection is then given to a new parser with the word rewritten to a method that
// the parser knows, of the same length, and that no client of this API uses. Only connections that send such a word pay
// for it, and a body that happens to begin with these bytes is never touched: the error arises at a request line only.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { type ParserError, refuse } from "./refuse-connection.ts";
import { RewrittenConnection } from "./rewritten-connection.ts";

/** A method that the parser does not know. */
interface Word {
  readonly text: string;
  /** Its bytes that the parser still takes, because a method that it knows begins with them. */
  readonly taken: number;
  readonly standIn: string;
}

const WORDS: readonly Word[] = [
  { text: "LIST", taken: 2, standIn: "LINK" },
  { text: "SCAN", taken: 1, standIn: "BIND" },
  { text: "HELP", taken: 2, standIn: "COPY" },
];

/** The method that the client sent. */
export function methodOf(message: IncomingMessage): string {
  const method = message.method ?? "";
  if (!(message.socket instanceof RewrittenConnection)) return method;
  return WORDS.find((word) => word.standIn === method)?.text ?? method;
}

/** Lets a server take LIST, SCAN and HELP. Also answers what is no HTTP at all. */
export function acceptListMethod(server: Server): void {
  const open = new OpenResponses();
  const takeOvers = new WeakMap<Duplex, TakeOver>();
  server.prependListener("request", (_message: IncomingMessage, response: ServerResponse) => open.add(response));
  server.on("clientError", (error: ParserError, socket: Duplex) => {
    const running = takeOvers.get(socket);
    if (running) return running.onParserError(error);
    const found = wordAt(error);
    if (found.length === 0) return refuseInTurn(socket, error, open);
    const event = "setSecureContext" in server ? "secureConnection" : "connection";
    const onTaken = (connection: Duplex) => void server.emit(event, connection);
    takeOvers.set(socket, new TakeOver(socket, found, { error, open, onTaken }));
  });
}

/** After the answers to earlier requests; but a request whose body broke off would wait for the rest of it. */
function refuseInTurn(socket: Duplex, error: ParserError, open: OpenResponses): void {
  const responses = open.of(socket);
  const broken = responses.find(({ req }) => !req.complete);
  if (!broken) open.whenNone(socket, () => refuse(socket, error));
  else if (responses.length > 1 || broken.headersSent) socket.destroy();
  else setImmediate(() => refuse(socket, error));
}

interface Found {
  readonly word: Word;
  /** The word as far as it has come, and what follows. */
  readonly bytes: Buffer;
}

/** The words that the bytes at which the parser stopped can be; the first of them may have been in an earlier packet. */
function wordAt({ code, rawPacket, bytesParsed = 0 }: ParserError): readonly Found[] {
  if (code !== "HPE_INVALID_METHOD" || !rawPacket) return [];
  return WORDS.map((word) => {
    const here = Math.min(bytesParsed, word.taken);
    const before = Buffer.from(word.text.slice(0, word.taken - here));
    return { word, bytes: Buffer.concat([before, rawPacket.subarray(bytesParsed - here)]) };
  }).filter(({ word, bytes }) => isBeginning(bytes, word));
}

function isBeginning(bytes: Buffer, { text }: Word): boolean {
  const line = `${text} `;
  const seen = bytes.toString("latin1", 0, line.length);
  return line.startsWith(seen);
}

interface TakeOverOptions {
  readonly error: ParserError;
  readonly open: OpenResponses;
  readonly onTaken: (connection: Duplex) => void;
}

/** From a parser's error to the new connection: until the word is whole and all earlier requests have been answered. */
class TakeOver {
  readonly #socket: Duplex;
  readonly #options: TakeOverOptions;
  #found: readonly Found[];
  #isWhole = false;
  #hasEnded = false;
  constructor(socket: Duplex, found: readonly Found[], options: TakeOverOptions) {
    this.#socket = socket;
    this.#found = found;
    this.#options = options;
    // The old parser gets no more; a "data" listener takes a real socket's handle back from it.
    socket.removeAllListeners("data").removeAllListeners("end");
    socket.on("data", this.#onData).on("end", this.#onEnd);
    this.#look();
    if (!this.#isWhole) socket.resume();
  }

  /** Only its time limit can still be reached: the socket's bytes go past the old parser now. */
  onParserError(error: ParserError): void {
    if (!this.#isWhole) this.#refuse(error);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#found = this.#found.map(({ word, bytes }) => ({ word, bytes: Buffer.concat([bytes, chunk]) }));
    if (this.#isWhole) this.#socket.pause();
    else this.#look();
  };
  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    if (!this.#isWhole) this.#refuse(this.#options.error);
  };

  #look(): void {
    this.#found = this.#found.filter(({ word, bytes }) => isBeginning(bytes, word));
    const [found] = this.#found;
    if (!found) this.#refuse(this.#options.error);
    if (!found || found.bytes.length <= found.word.text.length) return;
    this.#isWhole = true;
    this.#socket.pause();
    this.#options.open.whenNone(this.#socket, () => this.#handOver());
  }

  #refuse(error: ParserError): void {
    this.#socket.removeListener("data", this.#onData).removeListener("end", this.#onEnd);
    this.#options.open.whenNone(this.#socket, () => refuse(this.#socket, error));
  }

  #handOver(): void {
    const socket = this.#socket.removeListener("data", this.#onData).removeListener("end", this.#onEnd);
    const [found] = this.#found;
    if (!found || !socket.writable || socket.destroyed) return void socket.destroy();
    found.bytes.write(found.word.standIn, "latin1");
    this.#options.onTaken(new RewrittenConnection(socket, { first: found.bytes, hasEnded: this.#hasEnded }));
  }
}

/** The responses of each connection that are not finished: several when requests are pipelined. */
class OpenResponses {
  readonly #open = new WeakMap<Duplex, Set<ServerResponse>>();
  readonly #waiting = new WeakMap<Duplex, () => void>();

  add(response: ServerResponse): void {
    const { socket } = response.req;
    const open = this.#open.get(socket) ?? new Set();
    this.#open.set(socket, open.add(response));
    response.once("close", () => {
      open.delete(response);
      if (open.size > 0) return;
      const run = this.#waiting.get(socket);
      this.#waiting.delete(socket);
      run?.();
    });
  }

  of(socket: Duplex): readonly ServerResponse[] {
    return [...(this.#open.get(socket) ?? [])];
  }

  /** Runs once nothing is open. Not within the parser's own call: it must not be freed while it runs. */
  whenNone(socket: Duplex, run: () => void): void {
    if (this.of(socket).length === 0) setImmediate(run);
    else this.#waiting.set(socket, run);
  }
}
