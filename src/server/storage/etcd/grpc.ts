// One connection that speaks gRPC over HTTP/2 (grpc.io: PROTOCOL-HTTP2.md): calls with one answer, and calls with a
// stream of answers. A message on the wire: 1 byte compressed (always 0 here) | 4 bytes length, big-endian | message.
// Knows nothing of etcd: which errors may be tried again is decided in faults.ts.
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from "node:http2";
import type { SecureContextOptions } from "node:tls";
import type { Clock, Millis } from "#common/clock.ts";
import type { Message } from "./wire.ts";

/** gRPC's status codes that are told apart (grpc.io: statuscodes.md). */
export const GRPC = {
  ok: 0,
  invalidArgument: 3,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  outOfRange: 11,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** The server has answered, and not with what was asked for. */
export class GrpcError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = "GrpcError";
    this.status = status;
  }
}

/** No answer: whether the server has done anything is unknown if `sent`. */
export class ConnectionError extends Error {
  readonly sent: boolean;
  constructor(message: string, sent: boolean, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "ConnectionError";
    this.sent = sent;
  }
}

export interface ConnectionOptions {
  /** Such as https://etcd-0:2379. */
  readonly address: string;
  readonly tls: SecureContextOptions | undefined;
  readonly connectTimeoutMillis: Millis;
  readonly clock: Clock;
}

const FRAME_HEADER_BYTES = 5;
/** A window of HTTP/2's own 64 KiB would stop a large value every few packets. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** A read of as many keys as fit in one transaction, each as large as a request can be. */
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;

export type Metadata = Readonly<Record<string, string>>;

export class GrpcConnection {
  readonly address: string;
  readonly #session: ClientHttp2Session;
  readonly #clock: Clock;

  constructor(session: ClientHttp2Session, { address, clock }: ConnectionOptions) {
    this.address = address;
    this.#session = session;
    this.#clock = clock;
    // An error without a listener ends the process; those on their way fail through their own streams.
    session.on("error", () => session.destroy());
    // A server that goes away finishes what it has begun; new calls go to another connection.
    session.on("goaway", () => session.close());
  }

  get alive(): boolean {
    return !this.#session.closed && !this.#session.destroyed;
  }

  /** One request, one answer. Throws GrpcError or ConnectionError. */
  async call(path: string, message: Message, metadata: Metadata, timeout: Millis): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const stream = this.#open(path, { ...metadata, "grpc-timeout": `${timeout}m` });
    const answer = new Answer(
      stream,
      () => {},
      (error, messages) => {
        const [first] = messages;
        if (error === undefined && first !== undefined) resolve(first);
        else reject(error ?? new ConnectionError("etcd's answer is empty", true));
      },
    );
    stream.setTimeout(timeout + GRACE_MILLIS, () => {
      answer.fail(new ConnectionError(`no answer within ${timeout} ms`, true));
      // What does not answer in time is taken for gone, with all that waits for it.
      this.destroy();
    });
    stream.end(frame(message));
    return promise;
  }

  /** A stream of answers, until `onEnd`. The request stays open. */
  stream(path: string, message: Message, metadata: Metadata, listener: StreamListener): Disposable {
    const stream = this.#open(path, metadata);
    const ended = new AbortController();
    new Answer(stream, listener.onMessage, (error) => {
      ended.abort();
      listener.onEnd(error ?? new ConnectionError("the stream ended", true));
    });
    stream.write(frame(message));
    void this.#keepAlive(ended.signal);
    return { [Symbol.dispose]: () => stream.close() };
  }

  /** Ends when the calls on their way have ended. */
  retire(): void {
    this.#session.close();
  }

  destroy(): void {
    this.#session.destroy();
  }

  #open(path: string, metadata: Metadata): ClientHttp2Stream {
    if (!this.alive) throw new ConnectionError(`the connection to ${this.address} is closed`, false);
    const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
    return this.#session.request({ ...headers, ...metadata });
  }

  /** A stream that says nothing may be one that is dead: asks, and ends the connection that does not answer. */
  async #keepAlive(signal: AbortSignal): Promise<void> {
    let answered = true;
    while (answered && !signal.aborted && this.alive) {
      answered = false;
      this.#session.ping((error) => (answered = error === null));
      await this.#clock.sleep(PING_MILLIS, signal);
    }
    if (!answered && !signal.aborted) this.destroy();
  }
}

/** The server is told the deadline and answers that it is over; only one that hangs is left to this side. */
const GRACE_MILLIS = 500;
/** More often than each 5 s, and etcd cuts the connection (--grpc-keepalive-min-time). */
const PING_MILLIS = 10_000;

export interface StreamListener {
  onMessage(message: Buffer): void;
  onEnd(error: GrpcError | ConnectionError): void;
}

/** Connects. Throws ConnectionError. */
export async function connectGrpc(options: ConnectionOptions): Promise<GrpcConnection> {
  const { address, tls, connectTimeoutMillis, clock } = options;
  const session = connect(address, { ...tls, settings: { initialWindowSize: WINDOW_BYTES, enablePush: false } });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const done = new AbortController();
  // A process that is stopped still connects, by its kernel; what it sends first, it sends itself.
  session.once("remoteSettings", () => resolve());
  session.once("error", reject);
  session.once("close", () => reject(new Error("the connection was closed")));
  void clock.sleep(connectTimeoutMillis, done.signal).then(() => reject(new Error("no answer to connecting")));
  try {
    await promise;
    session.setLocalWindowSize(WINDOW_BYTES);
    return new GrpcConnection(session, options);
  } catch (cause) {
    session.on("error", () => {});
    session.destroy();
    throw new ConnectionError(reasonOf(cause), false, { cause });
  } finally {
    done.abort();
  }
}

/** Several addresses of one name fail together, without a text of their own. */
function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError) return cause.errors.map(reasonOf).join(", ");
  return cause instanceof Error ? cause.message : String(cause);
}

function frame(message: Message): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, ...message.parts], FRAME_HEADER_BYTES + message.length);
}

type Finish = (error: GrpcError | ConnectionError | undefined, messages: readonly Buffer[]) => void;

/** Gathers what comes on a stream: messages, then a status in the trailers (or in the headers, when that is all). */
class Answer {
  readonly #stream: ClientHttp2Stream;
  readonly #onMessage: (message: Buffer) => void;
  readonly #messages: Buffer[] = [];
  #finish: Finish | undefined;
  #chunks: Buffer[] = [];
  #length = 0;
  #status: IncomingHttpHeaders | undefined;

  constructor(stream: ClientHttp2Stream, onMessage: (message: Buffer) => void, finish: Finish) {
    this.#stream = stream;
    this.#onMessage = onMessage;
    this.#finish = finish;
    stream.on("response", (headers) => {
      if (headers["grpc-status"] !== undefined || headers[":status"] !== 200) this.#status = headers;
    });
    stream.on("trailers", (trailers) => (this.#status = trailers));
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("error", (cause) => this.fail(new ConnectionError(cause.message, true, { cause })));
    stream.on("close", () => this.#end());
  }

  fail(error: GrpcError | ConnectionError): void {
    const finish = this.#finish;
    this.#finish = undefined;
    finish?.(error, []);
    this.#stream.close();
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= FRAME_HEADER_BYTES) {
      // Only the first pieces are joined until a message is complete, so a large one is copied once.
      const first = this.#joined(FRAME_HEADER_BYTES);
      const size = first.readUInt32BE(1);
      if (size > ANSWER_BYTES_MAX || first[0] !== 0) {
        this.fail(new ConnectionError("etcd's answer is too large or compressed", true));
        return;
      }
      if (this.#length < FRAME_HEADER_BYTES + size) return;
      const all = this.#joined(this.#length);
      const end = FRAME_HEADER_BYTES + size;
      this.#chunks = end === all.length ? [] : [all.subarray(end)];
      this.#length -= end;
      this.#message(all.subarray(FRAME_HEADER_BYTES, end));
    }
  }

  /** The bytes so far in one piece, at least so many. */
  #joined(least: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= least) return first;
    const joined = Buffer.concat(this.#chunks, this.#length);
    this.#chunks = [joined];
    return joined;
  }

  #message(message: Buffer): void {
    if (this.#finish === undefined) return;
    this.#messages.length = 0;
    this.#messages.push(message);
    this.#onMessage(message);
  }

  #end(): void {
    const finish = this.#finish;
    this.#finish = undefined;
    if (finish === undefined) return;
    const status = this.#status?.["grpc-status"];
    if (status === String(GRPC.ok)) finish(undefined, this.#messages);
    else finish(status === undefined ? noStatus(this.#status) : statusError(Number(status), this.#status), []);
  }
}

function noStatus(headers: IncomingHttpHeaders | undefined): ConnectionError {
  const http = headers?.[":status"];
  return new ConnectionError(http === undefined ? "the connection broke" : `it answered HTTP ${http}, not gRPC`, true);
}

/** The message is percent-encoded. */
function statusError(status: number, headers: IncomingHttpHeaders | undefined): GrpcError {
  const text = String(headers?.["grpc-message"] ?? `gRPC status ${status}`);
  return new GrpcError(
    status,
    text.replace(/(?:%[0-9A-Fa-f]{2})+/g, (run) => Buffer.from(run.replaceAll("%", ""), "hex").toString("utf8")),
  );
}
