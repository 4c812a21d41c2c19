// A way to a server on this machine that can be cut, and on which requests or answers can get lost while the connection
// stands: what networks do to those who wait for an answer. Knows no protocol.
import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";

export interface TcpProxy {
  readonly port: number;
  /** Ends every connection at once; new ones are taken. */
  cut(): void;
  /** What is sent from now on does not arrive, and nobody is told. */
  lose(what: "requests" | "answers" | "both"): void;
  /** Connections there are lose everything from now on and nobody is told; new ones pass: a router that forgot them. */
  forget(): void;
  /** New bytes pass again; connections that have lost some are cut. */
  mend(): void;
  close(): Promise<void>;
}

export async function startTcpProxy(target: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const forgotten = new WeakSet<Socket>();
  let lost: "requests" | "answers" | "both" | undefined;
  const keep = (socket: Socket, other: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      sockets.delete(socket);
      other.destroy();
    });
  };
  const listener = createServer((near) => {
    const far = createConnection(target, "127.0.0.1");
    keep(near, far);
    keep(far, near);
    const isLost = (what: "requests" | "answers") => lost === what || lost === "both" || forgotten.has(near);
    near.on("data", (chunk) => isLost("requests") || far.write(chunk));
    far.on("data", (chunk) => isLost("answers") || near.write(chunk));
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    cut,
    lose: (what) => {
      lost = what;
    },
    forget: () => {
      for (const socket of sockets) forgotten.add(socket);
    },
    mend: () => {
      if (lost !== undefined) cut();
      lost = undefined;
    },
    close: async () => {
      const closed = once(listener, "close");
      listener.close();
      cut();
      await closed;
    },
  };
}
