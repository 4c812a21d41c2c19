// From the proxy to the server: one request over kept connections, its answer held if it is JSON and of the size of a
// secret, and passed on as it comes otherwise. Adds the token; knows nothing of what the answer means.
import http from "node:http";
import https from "node:https";
import { backoffMillis, mayRepeat } from "#client/retry.ts";
import { classify, type TlsOptions, TransportError, tlsSettings } from "#client/transport.ts";
import { type Clock, type Millis, within } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { ProxyAnswer, ProxyRequest } from "./exchange.ts";

/** Larger answers are not looked into. A secret has 1 MiB at most. */
export const HELD_BYTES_MAX = 2 * 1024 * 1024;
const SOCKETS_MAX = 32;
const IDLE_MILLIS = 30_000;
/** A standby points to the active node once; a second hop is a loop. */
const REDIRECTS_MAX = 2;
/** Of one connection (RFC 9110 7.6.1), or set anew. */
const NOT_FORWARDED = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "content-length",
  "expect",
  "authorization",
  "x-vault-token",
  "x-vault-namespace",
  "x-vault-request",
]);

export interface UpstreamOptions {
  readonly address: string;
  readonly tls: TlsOptions;
  /** Until the answer begins. */
  readonly timeoutMillis: Millis;
  /** Attempts beyond the first, when a request certainly had no effect. */
  readonly retries: number;
  readonly clock: Clock;
}

export interface Upstream {
  /** Throws `upstream_failed` when no answer comes. `extra` are headers besides the request's own. */
  forward(request: ProxyRequest, extra?: Readonly<Record<string, string>>): Promise<ProxyAnswer>;
  close(): void;
}

export function createUpstream(options: UpstreamOptions): Upstream {
  const pool = { keepAlive: true, maxSockets: SOCKETS_MAX, timeout: IDLE_MILLIS };
  const agents = { plain: new http.Agent(pool), secure: new https.Agent(pool) };
  return {
    forward: (request, extra = {}) => forward(request, extra, options, agents),
    close() {
      agents.plain.destroy();
      agents.secure.destroy();
    },
  };
}

interface Agents {
  readonly plain: http.Agent;
  readonly secure: https.Agent;
}

async function forward(
  request: ProxyRequest,
  extra: Readonly<Record<string, string>>,
  options: UpstreamOptions,
  agents: Agents,
): Promise<ProxyAnswer> {
  // Node's parser takes no LIST from a client and sends none that servers need: they take this parameter.
  const isList = request.method === "LIST";
  const method = isList ? "GET" : request.method;
  const headers = { ...forwardedHeaders(request), ...extra };
  const start = targetUrl(options.address, request.target, isList);
  for (let attempt = 0; ; attempt++) {
    try {
      return await follow(start, { method, headers, body: request.body }, options, agents);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      const mayPass = error.failure !== "untrusted_certificate";
      if (attempt >= options.retries || !mayRepeat(method, { unsent: error.unsent, repeatable: mayPass })) {
        throw new CofferError("upstream_failed", `the server cannot be reached: ${error.failure}`, { cause: error });
      }
    }
    await options.clock.sleep(backoffMillis(attempt));
  }
}

function targetUrl(address: string, target: string, isList: boolean): URL {
  const base = new URL(address);
  const [path = "", query] = target.split("?", 2);
  const url = new URL(base);
  url.pathname = `${base.pathname.replace(/\/+$/, "")}${path}`;
  url.search = query ?? "";
  if (isList) url.searchParams.set("list", "true");
  return url;
}

function forwardedHeaders({ headers, token, namespace, body }: ProxyRequest): Record<string, string | string[]> {
  const named = new Set((headers.connection ?? "").toLowerCase().split(/ *, */));
  const forwarded: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !NOT_FORWARDED.has(name) && !named.has(name)) forwarded[name] = value;
  }
  return {
    ...forwarded,
    "X-Vault-Request": "true",
    ...(token === undefined ? {} : { "X-Vault-Token": token }),
    ...(namespace === undefined ? {} : { "X-Vault-Namespace": namespace }),
    ...(body.length === 0 ? {} : { "Content-Length": String(body.length) }),
  };
}

interface Sent {
  readonly method: string;
  readonly headers: http.OutgoingHttpHeaders;
  readonly body: Buffer;
}

async function follow(start: URL, sent: Sent, options: UpstreamOptions, agents: Agents): Promise<ProxyAnswer> {
  let url = start;
  for (let hops = 0; ; hops++) {
    const response = await respond(url, sent, options, agents);
    const { statusCode = 0, headers } = response;
    const next = statusCode === 307 || statusCode === 308 ? nextUrl(url, headers.location) : undefined;
    if (next === undefined || hops >= REDIRECTS_MAX) return inTime(hold(response), options, () => response.destroy());
    response.resume();
    url = next;
  }
}

/** A token must not travel in the clear because a server said so. */
function nextUrl(url: URL, location: string | undefined): URL | undefined {
  if (location === undefined || !URL.canParse(location, url.href)) return undefined;
  const next = new URL(location, url);
  return url.protocol === "https:" && next.protocol !== "https:" ? undefined : next;
}

async function respond(
  url: URL,
  { method, headers, body }: Sent,
  options: UpstreamOptions,
  agents: Agents,
): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  const call =
    url.protocol === "https:"
      ? https.request(url, { method, headers, ...tlsSettings(options.tls), agent: agents.secure })
      : http.request(url, { method, headers, agent: agents.plain });
  call.on("response", resolve).on("error", (error) => reject(classify(error)));
  call.end(body);
  return inTime(promise, options, () => call.destroy());
}

async function inTime<T>(work: Promise<T>, { clock, timeoutMillis }: UpstreamOptions, cut: () => void): Promise<T> {
  const done = await within(clock, timeoutMillis, work);
  if (done !== "late") return done;
  work.catch(() => {}); // nobody waits for it any more
  cut();
  throw new TransportError("timeout", `waited ${timeoutMillis} ms`);
}

async function hold(response: http.IncomingMessage): Promise<ProxyAnswer> {
  const status = response.statusCode ?? 502;
  const headers = Object.fromEntries(
    Object.entries(response.headers).filter(([name]) => name === "content-length" || !NOT_FORWARDED.has(name)),
  );
  const isJson = response.headers["content-type"]?.includes("json") ?? false;
  const declared = Number(response.headers["content-length"] ?? 0);
  if ((!isJson && declared === 0 && status !== 204) || declared > HELD_BYTES_MAX) {
    return { status, headers, body: Buffer.alloc(0), rest: response };
  }
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response.iterator({ destroyOnReturn: false })) {
      const bytes = Buffer.from(chunk);
      chunks.push(bytes);
      size += bytes.length;
      if (size > HELD_BYTES_MAX) return { status, headers, body: Buffer.concat(chunks), rest: response };
    }
  } catch (cause) {
    throw new TransportError("closed", "the answer broke off", { cause });
  }
  return { status, headers, body: Buffer.concat(chunks) };
}
