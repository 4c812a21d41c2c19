// The listeners of the agent's proxy: TCP on the loopback device, or a socket in the file system. Limits of connections
// and times; what is answered is proxy.ts's.
import { once } from "node:events";
import { chmodSync, lstatSync, readFileSync, rmSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { ListenerConfig } from "#common/agent-config.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { acceptListMethod } from "#common/http/list-method.ts";
import { hostAndPort } from "./listen-address.ts";

/** One pod talks to it. */
const CONNECTIONS_MAX = 256;
const HEADERS_MILLIS = 10_000;
const REQUEST_MILLIS = 60_000;
const KEEP_ALIVE_MILLIS = 60_000;
const SOCKET_MODE = 0o600;

export interface OpenListener {
  /** "127.0.0.1:8200", or the socket's path. */
  readonly address: string;
  close(): void;
}

/** Throws `unavailable` when it cannot be opened. */
export async function openListener(config: ListenerConfig, handle: RequestListener): Promise<OpenListener> {
  try {
    const server = httpServer(config, handle);
    acceptListMethod(server);
    server.maxConnections = CONNECTIONS_MAX;
    server.headersTimeout = HEADERS_MILLIS;
    server.requestTimeout = REQUEST_MILLIS;
    server.keepAliveTimeout = KEEP_ALIVE_MILLIS;
    await listen(server, config);
    return { address: addressOf(server), close: () => close(server) };
  } catch (cause) {
    throw new CofferError("unavailable", `cannot listen at ${config.address}: ${messageOf(cause)}`, { cause });
  }
}

function httpServer({ tls }: ListenerConfig, handle: RequestListener): Server {
  if (tls === undefined) return createServer(handle);
  const files = { cert: readFileSync(tls.certificateFile), key: readFileSync(tls.keyFile) };
  return createTlsServer({ ...files, minVersion: "TLSv1.2" }, handle);
}

async function listen(server: Server, { type, address, socketMode }: ListenerConfig): Promise<void> {
  if (type === "unix") {
    removeStaleSocket(address);
    server.listen(address);
  } else {
    const { host, port } = hostAndPort(address);
    server.listen(port, host);
  }
  await once(server, "listening");
  if (type === "unix") chmodSync(address, socketMode === undefined ? SOCKET_MODE : Number.parseInt(socketMode, 8));
}

/** What an agent left that was killed. Anything but a socket stays, and the listener fails. */
function removeStaleSocket(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) rmSync(path);
}

function addressOf(server: Server): string {
  const bound = server.address();
  if (bound === null || typeof bound === "string") return bound ?? "";
  return bound.family === "IPv6" ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`;
}

function close(server: Server): void {
  server.close();
  server.closeAllConnections();
}
