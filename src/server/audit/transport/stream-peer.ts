// A connection (TCP or a Unix socket) that text is written to: opened when needed, opened again when it was lost.
import { connect, type Socket } from "node:net";
import type { PeerAddress } from "./peer-address.ts";

export class StreamPeer {
  readonly #address: PeerAddress;
  #socket: Socket | undefined;
  constructor(address: PeerAddress) {
    this.#address = address;
  }

  /** Connects unless there is a connection. Rejects with the system's error. */
  async open(signal: AbortSignal): Promise<Socket> {
    if (this.#socket) return this.#socket;
    const socket = connect({ ...this.#address, noDelay: true, keepAlive: true });
    const cut = () => socket.destroy(signal.reason instanceof Error ? signal.reason : undefined);
    signal.addEventListener("abort", cut, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("error", reject);
        socket.once("close", () => reject(new Error("the connection was closed")));
      });
    } finally {
      signal.removeEventListener("abort", cut);
    }
    this.#watch(socket);
    return socket;
  }

  #watch(socket: Socket): void {
    this.#socket = socket;
    const forget = () => {
      if (this.#socket === socket) this.#socket = undefined;
    };
    socket.on("error", forget); // whoever writes is told by the write itself
    socket.once("end", forget); // a peer that hung up reads no more
    socket.once("close", forget);
    socket.resume();
  }

  /** Resolves when the operating system has the text. A connection that the peer has left is tried anew once. */
  async send(text: string, signal: AbortSignal): Promise<void> {
    const reused = this.#socket;
    const socket = await this.open(signal);
    try {
      await write(socket, text, signal);
    } catch (error) {
      this.close();
      if (socket !== reused || signal.aborted) throw error;
      await write(await this.open(signal), text, signal);
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }
}

async function write(socket: Socket, text: string, signal: AbortSignal): Promise<void> {
  const cut = () => socket.destroy(signal.reason instanceof Error ? signal.reason : undefined);
  signal.addEventListener("abort", cut, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.write(text, (error) => (error ? reject(error) : resolve()));
    });
  } finally {
    signal.removeEventListener("abort", cut);
  }
}
