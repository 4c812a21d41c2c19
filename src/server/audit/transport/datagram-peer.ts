// A UDP peer, one datagram a line. Nobody confirms a datagram; a peer whose machine says that nobody listens is noticed
// with the next one.
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import type { NetworkAddress } from "./peer-address.ts";

/** 65,535 less the headers of IPv4 and UDP: no datagram can be longer. */
export const DATAGRAM_BYTES_MAX = 65_507;

export class DatagramPeer {
  readonly #address: NetworkAddress;
  #socket: Socket | undefined;
  #trouble: Error | undefined;
  constructor(address: NetworkAddress) {
    this.#address = address;
  }

  async open(): Promise<Socket> {
    if (this.#socket) return this.#socket;
    const { host, port } = this.#address;
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    try {
      socket.connect(port, host);
      await once(socket, "connect");
    } catch (error) {
      socket.close();
      throw error;
    }
    socket.on("error", (error) => {
      this.#trouble = error;
    });
    this.#socket = socket;
    return socket;
  }

  async send(lines: readonly string[]): Promise<void> {
    const socket = await this.open();
    const trouble = this.#trouble;
    this.#trouble = undefined;
    if (trouble) throw trouble;
    for (const line of lines) {
      await new Promise<void>((resolve, reject) => {
        socket.send(line, (error) => (error ? reject(error) : resolve()));
      });
    }
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }
}
