// A connection that stands before another one: it begins with bytes given to it and goes on with what the socket below
// has to say. Made for list-method.ts; knows nothing of HTTP but how Node's server lets go of a socket.
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

export interface Beginning {
  readonly first: Buffer;
  /** The other side has already said all it has to say. */
  readonly hasEnded: boolean;
}

export class RewrittenConnection extends Duplex {
  readonly #below: Duplex;
  readonly #listeners: readonly (readonly [string, (value?: unknown) => void])[];
  #isReleased = false;
  /** Takes `socket` from the HTTP server. One that is itself rewritten makes way: there are never two layers. */
  constructor(socket: Duplex, beginning: Beginning) {
    super();
    const rest = socket instanceof RewrittenConnection ? socket.#release() : undefined;
    this.#below = socket instanceof RewrittenConnection ? socket.#below : socket;
    if (!rest) takeFromServer(socket);
    this.#listeners = [
      ["data", (chunk) => void (this.push(chunk) || this.#below.pause())],
      ["end", () => void this.push(null)],
      ["error", (error) => void this.destroy(error instanceof Error ? error : undefined)],
      ["close", () => void this.destroy()],
      ["timeout", () => void this.emit("timeout")],
    ];
    this.push(beginning.first);
    if (rest?.bytes) this.push(rest.bytes);
    if (beginning.hasEnded || rest?.hasEnded) this.push(null);
    for (const [event, listener] of this.#listeners) this.#below.on(event, listener);
    this.#below.resume();
  }

  /** The socket at the bottom, for its addresses and its certificate. */
  get socket(): Duplex {
    return this.#below;
  }

  /** Lets go of the socket below without closing it; gives what was read of it and not taken. */
  #release(): { bytes: Buffer | undefined; hasEnded: boolean } {
    for (const [event, listener] of this.#listeners) this.#below.removeListener(event, listener);
    this.#isReleased = true;
    this.removeAllListeners("data").removeAllListeners("end");
    const bytes: unknown = this.readableLength > 0 ? this.read() : undefined;
    const hasEnded = this.#below.readableEnded;
    this.destroy();
    return { bytes: Buffer.isBuffer(bytes) ? bytes : undefined, hasEnded };
  }

  override _read(): void {
    if (!this.#isReleased) this.#below.resume();
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#below.destroyed) done(new Error("the connection is closed"));
    else this.#below.write(chunk, done);
  }
  override _final(done: () => void): void {
    if (this.#isReleased || this.#below.destroyed) done();
    else this.#below.end(done);
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#isReleased) this.#below.destroy();
    done(error);
  }

  // The HTTP server treats a connection as a net.Socket in these few respects.
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }
  get remoteAddress(): string | undefined {
    return asSocket(this.#below)?.remoteAddress;
  }
  get remotePort(): number | undefined {
    return asSocket(this.#below)?.remotePort;
  }
  setTimeout(millis: number, onTimeout?: () => void): this {
    asSocket(this.#below)?.setTimeout(millis);
    if (onTimeout) this.once("timeout", onTimeout);
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
}

/**
 * The server frees the parser of a socket that closes, and takes it off the list whose time limits it watches: its own
 * listeners do that, so they are told of a close that is none.
 */
function takeFromServer(socket: Duplex): void {
  const closers = socket.listeners("close").filter(({ name }) => name.endsWith("socketOnClose"));
  for (const closer of closers) {
    socket.removeListener("close", closer as () => void); // it came from the same list
    Reflect.apply(closer, socket, []);
  }
  for (const event of ["error", "timeout", "drain"]) socket.removeAllListeners(event);
}

function asSocket(stream: Duplex): Pick<Socket, "remoteAddress" | "remotePort" | "setTimeout"> | undefined {
  return "remoteAddress" in stream && "setTimeout" in stream ? (stream as Socket) : undefined; // both members were just seen
}
