// A listening socket: HTTP or HTTPS, limits on everything that a client can make long, certificates read anew when
// their files change.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Clock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import { acceptListMethod } from "#common/http/list-method.ts";
import type { Log } from "#common/log.ts";
import type { ListenerConfig } from "../config/listener-config.ts";
import type { CrossOriginRules } from "../core/cross-origin.ts";
import { encodeError } from "../core/encode.ts";
import type { MetricsRequest } from "../core/metrics-answer.ts";
import type { Answer, Request } from "../core/request.ts";
import type { OpenForm } from "../framework/context.ts";
import { type ApiHandlerOptions, handleApi } from "./api-handler.ts";
import { clientAddressOf } from "./client-address.ts";
import { Deadlines } from "./deadlines.ts";
import { LineStreams } from "./line-streams.ts";
import { readTlsOptions, watchTlsFiles } from "./tls-files.ts";
import { isStreamRequest, WebSockets } from "./web-sockets.ts";

/** Headers of a request in all; a batch token is the longest thing that belongs there. */
const HEADER_BYTES_MAX = 16 * 1024;
/** A client that takes longer for its headers is not one. */
const HEADERS_MILLIS_MAX = 10_000;
/** A snapshot that takes longer to send is not coming any more. */
const STREAM_MILLIS_MAX = 24 * 60 * 60 * 1000;
/** Longer than the idle time of common load balancers, so that the server is not the first to hang up. */
const KEEP_ALIVE_MILLIS = 75_000;
/** How often Node looks for connections whose headers take too long. */
const CHECK_MILLIS = 2_000;
/** Requests under way have this long to end when the server stops; Kubernetes kills after 30 s. */
const CLOSE_MILLIS_MAX = 20_000;
const CLOSE_POLL_MILLIS = 25;
/**
 * A client may have sent a request on an idle connection before it hears that it was closed, and must then take a write
 * for one that may have been done (RFC 9112 9.3.1). So connections are first told to end, by the answers, for as long as
 * a busy client takes between two requests.
 */
const LINGER_MILLIS = 250;

export interface Listener {
  /** "https://127.0.0.1:8200", with the port that was really taken. */
  readonly address: string;
  /** Reads the certificate's files again. */
  reload(): void;
  /** Stops taking connections, lets what runs end. */
  close(): Promise<void>;
}

export interface ListenerServices {
  readonly serve: (request: Request) => Promise<Answer>;
  readonly pages: (request: IncomingMessage, response: ServerResponse) => void;
  readonly log: Log;
  readonly clock: Clock;
  /** The configuration of cross-origin requests; undefined without, and while the server is sealed. */
  readonly crossOrigin: () => Promise<CrossOriginRules | undefined>;
  /** Paths whose bodies are handed on as they come; none without. */
  readonly takesStream?: (path: string) => boolean;
  /** The metrics, for listeners that show them without a token. Throws `invalid_request` for an unknown format. */
  readonly metrics: (asked: MetricsRequest) => Promise<{ readonly contentType: string; readonly body: string }>;
}

export async function listen(config: ListenerConfig, services: ListenerServices): Promise<Listener> {
  const { log, clock } = services;
  const deadlines = new Deadlines(clock, config.maxRequestSeconds * 1000);
  const options = {
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_MILLIS_MAX,
    // The deadlines answer before, but where a body may take long.
    requestTimeout: STREAM_MILLIS_MAX,
    connectionsCheckingInterval: CHECK_MILLIS,
    keepAliveTimeout: KEEP_ALIVE_MILLIS,
    // Other upgrades are refused by answering as if they were not asked for: Java's client asks for h2c every time.
    shouldUpgradeCallback: isStreamRequest,
  };
  const lineStreams = new LineStreams(log);
  const api = apiOptions(config, services, { deadlines, lineStreams });
  const closing = new AbortController();
  const handler = makeHandler(services, api, config.unauthenticatedMetrics);
  const answer: typeof handler = (message, response) => {
    if (closing.signal.aborted) response.setHeader("Connection", "close");
    handler(message, response);
  };
  const server = config.tls
    ? createTlsServer({ ...options, ...(await readTlsOptions(config.tls)) }, answer)
    : createServer(options, answer);
  acceptListMethod(server);
  const webSockets = new WebSockets(server, { ...api, clock });
  const watcher =
    config.tls && "setSecureContext" in server ? watchTlsFiles(config.tls, server, { log, clock }) : undefined;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: config.host, port: config.port }, resolve);
  }).catch((error: unknown) => {
    throw new Error(`cannot listen on ${config.host}:${config.port}: ${messageOf(error)}`, { cause: error });
  });
  const address = `${config.tls ? "https" : "http"}://${shown(config.host)}:${portOf(server)}`;
  log.info("listening", { address });
  const running = deadlines.run();
  return {
    address,
    reload: () => watcher?.look(),
    async close() {
      watcher?.[Symbol.dispose]();
      closing.abort();
      if ((await connectionsOf(server)) > 0) await clock.sleep(LINGER_MILLIS);
      webSockets.close();
      lineStreams.close();
      await closeServer(server, clock);
      deadlines.stop();
      await running;
    },
  };
}

function apiOptions(
  config: ListenerConfig,
  services: ListenerServices,
  made: Pick<ApiHandlerOptions, "deadlines" | "lineStreams">,
): ApiHandlerOptions {
  const openForms: readonly OpenForm[] = [
    ...(config.unauthenticatedRekey ? (["rekey"] as const) : []),
    ...(config.unauthenticatedRootGeneration ? (["generate-root"] as const) : []),
  ];
  return {
    serve: (request) => services.serve(openForms.length === 0 ? request : { ...request, openForms }),
    crossOrigin: services.crossOrigin,
    log: services.log,
    ...made,
    bodyBytesMax: config.maxRequestBytes,
    takesStream: services.takesStream,
    requireRequestHeader: config.requireRequestHeader,
    isTls: config.tls !== undefined,
    clientAddress: (message: IncomingMessage) => clientAddressOf(message, config.forwardedFor),
  };
}

/** Of the absolute form of a request's target, which proxies may send and servers must take (RFC 9112 3.2.2). */
const ORIGIN = /^https?:\/\/[^/?]*/i;
/** `sys/metrics` with or without a query. */
const METRICS_URL = /^\/v1\/sys\/metrics(\?|$)/;

function makeHandler(services: ListenerServices, options: ApiHandlerOptions, openMetrics: boolean) {
  return (message: IncomingMessage, response: ServerResponse): void => {
    message.url = (message.url ?? "").replace(ORIGIN, "");
    const { url } = message;
    if (openMetrics && message.method === "GET" && METRICS_URL.test(url)) {
      void sendOpenMetrics(message, response, services);
    } else if (url.startsWith("/v1/") || url.startsWith("//")) void handleApi(message, response, options);
    else services.pages(message, response);
  };
}

async function sendOpenMetrics(
  message: IncomingMessage,
  response: ServerResponse,
  services: ListenerServices,
): Promise<void> {
  const { status, contentType, body } = await openMetricsAnswer(message, services);
  response.writeHead(status, { "Content-Type": contentType, "Cache-Control": "no-store" });
  response.end(body);
}

async function openMetricsAnswer(
  { url = "", headers }: IncomingMessage,
  { metrics, log }: ListenerServices,
): Promise<Answer> {
  const query = new URLSearchParams(url.slice(url.indexOf("?") + 1 || url.length));
  try {
    return { status: 200, ...(await metrics({ format: query.get("format") ?? "", accept: headers.accept ?? "" })) };
  } catch (error) {
    return encodeError(error, { id: "", path: "sys/metrics" }, log);
  }
}

function shown(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

function connectionsOf(server: Server): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  // An error means that it is not listening any more.
  server.getConnections((error, count) => resolve(error === null ? count : 0));
  return promise;
}

/** Connections that become idle are closed as they do; those that do not, after a while. */
async function closeServer(server: Server, clock: Clock): Promise<void> {
  const closed = new AbortController();
  const until = clock.now() + CLOSE_MILLIS_MAX;
  server.close(() => closed.abort());
  while (!closed.signal.aborted) {
    server.closeIdleConnections();
    if (clock.now() >= until) server.closeAllConnections();
    await clock.sleep(CLOSE_POLL_MILLIS, closed.signal);
  }
}
