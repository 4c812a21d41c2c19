// The client of the Vault v1 HTTP API that operator, agent and CLI share: headers, namespaces, wrapping, retries and
// errors. Paths are logical ("secret/data/x", no "/v1/"). It holds no token of its own beyond the one it is given.
import type { IncomingHttpHeaders } from "node:http";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { list, string } from "#common/schema.ts";
import { ApiError } from "./api-error.ts";
import { type Envelope, errorLines, parseEnvelope } from "./envelope.ts";
import { openLines } from "./lines.ts";
import { type MessagesRequest, openMessages } from "./messages.ts";
import { backoffMillis, mayRepeat } from "./retry.ts";
import { openDownload, sendUpload } from "./transfer.ts";
import {
  createTransport,
  type ExchangeResponse,
  type TlsOptions,
  type Transport,
  TransportError,
} from "./transport.ts";

/** What Vault's own clients wait for one answer. */
const TIMEOUT_MILLIS_DEFAULT = 60_000;
/** As Vault's own clients: two more attempts. */
const RETRIES_DEFAULT = 2;
/** Twice the largest request the server takes (32 MiB); lists and snapshots beyond that want a stream. */
const RESPONSE_BYTES_MAX = 64 * 1024 * 1024;
/** A sentence; more is a page for browsers. */
const PLAIN_REASON_LENGTH_MAX = 200;
/** A standby points to the active node once; a second hop is a loop. */
const REDIRECTS_MAX = 2;

export type ApiMethod = "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "LIST";

export interface ApiClientOptions extends TlsOptions {
  /** "https://host:8200", optionally with a path before "/v1". */
  readonly address: string;
  /** A token, or a function that gives the current one. */
  readonly token?: string | (() => string | undefined) | undefined;
  readonly namespace?: string | undefined;
  /** For one attempt, answer included. */
  readonly timeoutMillis?: Millis | undefined;
  /** Attempts beyond the first. */
  readonly retries?: number | undefined;
  readonly responseBytesMax?: number | undefined;
  readonly userAgent?: string | undefined;
  /** Cancels every call that has no signal of its own. */
  readonly signal?: AbortSignal | undefined;
  readonly clock: Clock;
}

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Asks for the answer wrapped in a single-use token: "60s", "5m". */
  readonly wrapTtl?: string | undefined;
  /** Instead of the client's token; "" sends none. */
  readonly token?: string | undefined;
  readonly retries?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}
export interface RequestOptions extends CallOptions {
  readonly body?: JsonValue | undefined;
}

export interface ApiResponse {
  readonly status: number;
  /** The answer's JSON; undefined when it is empty or not JSON. */
  readonly body: JsonValue | undefined;
  /** The answer as it came. */
  readonly text: string;
  readonly headers: IncomingHttpHeaders;
}

export interface ApiClient extends Disposable {
  readonly address: string;
  readonly namespace: string | undefined;
  /** Any call. Gives answers of every status; throws ApiError only when there was none, and CofferError when cancelled. */
  request(method: ApiMethod, path: string, options?: RequestOptions): Promise<ApiResponse>;
  /** The five verbs throw ApiError for every status of 300 and more, "nothing there" (404) included. */
  read(path: string, options?: CallOptions): Promise<Envelope>;
  write(path: string, body?: JsonValue, options?: CallOptions): Promise<Envelope>;
  patch(path: string, body: JsonValue, options?: CallOptions): Promise<Envelope>;
  delete(path: string, options?: CallOptions): Promise<Envelope>;
  /** The keys below a path; none when there is nothing. */
  list(path: string, options?: CallOptions): Promise<readonly string[]>;
  /** Text messages that a path sends over a WebSocket, until the signal aborts. Throws ApiError when they end. */
  messages(
    path: string,
    options?: Pick<CallOptions, "query" | "signal"> & Pick<MessagesRequest, "onOpen">,
  ): AsyncIterable<string>;
  /** Lines of an answer that goes on, until it ends or the signal aborts. Throws ApiError when it is refused or cut. */
  lines(path: string, options?: Pick<CallOptions, "query" | "signal">): AsyncIterable<string>;
  /** The bytes of an answer of any size. Throws ApiError when it is refused, or cut before its end. */
  download(path: string, options?: Pick<CallOptions, "signal">): AsyncIterable<Uint8Array>;
  /** Sends a body of any size; gives the answer's data. Throws ApiError when it is refused. */
  upload(
    path: string,
    bytes: AsyncIterable<Uint8Array>,
    options?: Pick<CallOptions, "query" | "signal">,
  ): Promise<JsonObject | undefined>;
  /** A client with another token or namespace over the same connections. */
  with(change: Pick<ApiClientOptions, "token" | "namespace">): ApiClient;
  /** Closes the idle connections of this client and of those made by `with`. */
  close(): void;
}

/** A client for one server. Throws `invalid_request` when the address is no http(s) URL. */
export function createApiClient(options: ApiClientOptions): ApiClient {
  const base = parseAddress(options.address);
  return clientOver(createTransport({ tls: options, clock: options.clock }), base, options);
}

function clientOver(transport: Transport, base: URL, options: ApiClientOptions): ApiClient {
  const request: ApiClient["request"] = (method, path, call = {}) =>
    requestWithRetries({
      ...{ transport, base, options, method, path: logicalPath(path) },
      call: call.signal === undefined ? { ...call, signal: options.signal } : call,
    });
  const verb = async (method: ApiMethod, path: string, call: RequestOptions): Promise<Envelope> => {
    const answer = await request(method, path, call);
    const failed = { method, path, address: options.address, body: answer.body };
    // A redirect that was not followed is no success either.
    if (answer.status >= 300) {
      throw new ApiError({ ...failed, status: answer.status, errors: reasonsIn(answer) });
    }
    try {
      return parseEnvelope(answer.body);
    } catch (cause) {
      throw new ApiError({ ...failed, status: 0, errors: [messageOf(cause)], connection: "malformed", cause });
    }
  };
  return {
    address: options.address,
    namespace: options.namespace,
    request,
    read: (path, call = {}) => verb("GET", path, call),
    write: (path, body, call = {}) => verb("PUT", path, { ...call, body }),
    patch: (path, body, call = {}) => verb("PATCH", path, { ...call, body }),
    delete: (path, call = {}) => verb("DELETE", path, call),
    list: (path, call = {}) => listKeys(() => verb("LIST", path, call)),
    messages: (path, { onOpen, ...call } = {}) =>
      openMessages({ ...streamRequest({ transport, base, options, path, call }), onOpen }),
    lines: (path, call = {}) => openLines(streamRequest({ transport, base, options, path, call })),
    download: (path, call = {}) => openDownload(streamRequest({ transport, base, options, path, call })),
    upload: (path, bytes, call = {}) => sendUpload(streamRequest({ transport, base, options, path, call }), bytes),
    with: (change) => clientOver(transport, base, { ...options, ...change }),
    close: () => transport.close(),
    [Symbol.dispose]: () => transport.close(),
  };
}

/** The API's own lines, else what a proxy or a TLS listener says in plain text. */
function reasonsIn({ body, text, headers }: ApiResponse): readonly string[] {
  if (body !== undefined || !headers["content-type"]?.startsWith("text/plain")) return errorLines(body);
  return [text.trim().slice(0, PLAIN_REASON_LENGTH_MAX)];
}

async function listKeys(call: () => Promise<Envelope>): Promise<readonly string[]> {
  try {
    return list(string).parse((await call()).data?.["keys"] ?? [], "keys");
  } catch (error) {
    if (error instanceof ApiError && error.status === 404 && error.errors.length === 0) return [];
    throw error;
  }
}

function streamRequest({ path, ...asked }: Omit<Job, "method">): MessagesRequest {
  const { base, options, call } = asked;
  const bare = logicalPath(path);
  return {
    url: requestUrl(base, bare, "GET", call.query),
    path: bare,
    headers: requestHeaders({ ...asked, method: "GET", path: bare }),
    tls: options,
    timeoutMillis: options.timeoutMillis ?? TIMEOUT_MILLIS_DEFAULT,
    signal: call.signal ?? options.signal,
  };
}

interface Job {
  readonly transport: Transport;
  readonly base: URL;
  readonly options: ApiClientOptions;
  readonly method: ApiMethod;
  readonly path: string;
  readonly call: RequestOptions;
}

async function requestWithRetries(job: Job): Promise<ApiResponse> {
  const retries = job.call.retries ?? job.options.retries ?? RETRIES_DEFAULT;
  const wireMethod = job.method === "LIST" ? "GET" : job.method;
  for (let attempt = 0; ; attempt++) {
    const isLast = attempt >= retries || job.call.signal?.aborted === true;
    try {
      const answer = await follow(job, wireMethod, requestUrl(job.base, job.path, job.method, job.call.query));
      if (isLast || !mayRepeat(wireMethod, answer)) return decode(answer, job);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      const repeatable = error.failure !== "too_large" && error.failure !== "untrusted_certificate";
      if (isLast || !mayRepeat(wireMethod, { unsent: error.unsent, repeatable })) throw noAnswer(error, job);
    }
    await job.options.clock.sleep(backoffMillis(attempt), job.call.signal);
  }
}

async function follow(job: Job, method: string, start: URL): Promise<ExchangeResponse> {
  let url = start;
  for (let hops = 0; ; hops++) {
    const answer = await job.transport.exchange({
      method,
      url,
      headers: requestHeaders(job),
      body: job.call.body === undefined ? undefined : JSON.stringify(job.call.body),
      timeoutMillis: job.options.timeoutMillis ?? TIMEOUT_MILLIS_DEFAULT,
      responseBytesMax: job.options.responseBytesMax ?? RESPONSE_BYTES_MAX,
      signal: job.call.signal,
    });
    const location = answer.headers.location;
    if ((answer.status !== 307 && answer.status !== 308) || location === undefined || hops >= REDIRECTS_MAX) {
      return answer;
    }
    const next = new URL(location, url);
    // A token must not travel in the clear because a server said so.
    if (url.protocol === "https:" && next.protocol !== "https:") return answer;
    url = next;
  }
}

function requestHeaders({ options, method, call }: Job): Record<string, string> {
  const token = call.token ?? (typeof options.token === "function" ? options.token() : options.token);
  return {
    "X-Vault-Request": "true",
    "User-Agent": options.userAgent ?? "coffer",
    Accept: "application/json",
    ...(token ? { "X-Vault-Token": token } : {}),
    ...(options.namespace ? { "X-Vault-Namespace": options.namespace } : {}),
    ...(call.wrapTtl ? { "X-Vault-Wrap-TTL": call.wrapTtl } : {}),
    ...(call.body === undefined
      ? {}
      : { "Content-Type": method === "PATCH" ? "application/merge-patch+json" : "application/json" }),
    ...call.headers,
  };
}

function decode(answer: ExchangeResponse, job: Job): ApiResponse {
  const text = answer.bytes.toString("utf8");
  const isJson = (answer.headers["content-type"] ?? "").includes("json");
  try {
    const body = isJson && text.trim() !== "" ? parseJson(text) : undefined;
    return { status: answer.status, body, text, headers: answer.headers };
  } catch (cause) {
    throw noAnswer(new TransportError("malformed", messageOf(cause), { cause }), job);
  }
}

function noAnswer(error: TransportError, { method, path, options }: Job): ApiError {
  const { failure: connection, cause } = error;
  return new ApiError({
    ...{ method, path, address: options.address, status: 0 },
    ...{ errors: [error.message], connection, cause },
  });
}

function parseAddress(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new CofferError("invalid_request", `the address "${address}" is no URL; write it as https://host:8200`);
  }
  return url;
}

/** Takes off what people add to a path: "/v1/" or slashes in front. Refuses what would name another path on the way. */
function logicalPath(path: string): string {
  const bare = path.replace(/^\/v1\//, "").replace(/^\/+/, "");
  if (bare.split("/").some((segment) => segment === ".." || segment === ".")) {
    throw new CofferError("invalid_request", `the path "${path}" has a "." or ".." in it; write it out`);
  }
  return bare;
}

function requestUrl(base: URL, path: string, method: ApiMethod, query: CallOptions["query"] = {}): URL {
  const url = new URL(base);
  const prefix = base.pathname.replace(/\/+$/, "");
  url.pathname = `${prefix}/v1/${path.split("/").map(encodeURIComponent).join("/")}`;
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  if (method === "LIST") url.searchParams.set("list", "true");
  return url;
}
