// One exchange with the API server over node:http(s): sends JSON, reads an answer within limits, repeats what is safe to
// repeat, and opens streams of lines for watches. Knows nothing of kinds.
import { Agent, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import { type JsonValue, parseJson } from "#common/json.ts";
import { backoffMillis } from "./backoff.ts";
import { DeadlineExceeded, withDeadline } from "./deadline.ts";
import type { KubeEndpoint } from "./kube-endpoint.ts";
import { errorOfAnswer, KubeError } from "./kube-error.ts";

export type QueryValues = Readonly<Record<string, string | number | boolean | undefined>>;

export interface RequestOptions {
  readonly query?: QueryValues | undefined;
  /** Of the body; application/json when absent. */
  readonly contentType?: string | undefined;
  readonly accept?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** For the whole exchange, repeats included; 30 s when absent. */
  readonly timeoutMillis?: Millis | undefined;
}

export interface KubeHttp extends Disposable {
  /** Sends a request and reads its JSON answer; an empty answer is null. Throws `KubeError`. */
  send(method: string, path: string, body: JsonValue | undefined, options?: RequestOptions): Promise<JsonValue>;
  /** Opens an endless answer and gives its lines. Ends when the server ends it or the signal aborts. */
  lines(path: string, options: { query: QueryValues; accept?: string | undefined; signal: AbortSignal }): LineStream;
}
export type LineStream = AsyncGenerator<string, void, void>;

/** A page of 500 objects of the largest size that etcd takes (1.5 MiB) does not occur; 64 MiB is far above real pages. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
/** etcd refuses requests above 1.5 MiB; JSON with its escapes and a second copy in managedFields stays below this. */
export const WATCH_LINE_CHARACTERS_MAX = 16 * 1024 * 1024;
const TIMEOUT_MILLIS: Millis = 30_000;
/** A watch is answered at once, before there is anything to tell; what is not has no connection under it. */
const WATCH_OPEN_MILLIS: Millis = 10_000;
/** Attempts in all, for what is safe to repeat. */
const ATTEMPTS_MAX = 4;
/** A server that asks for more patience than this gets its answer passed on as an error. */
const RETRY_AFTER_MILLIS_MAX: Millis = 10_000;
const RETRY_BACKOFF = { initialMillis: 100, maxMillis: 2000 };
/** Connections that the peer had closed already, or a server going away: the request may be sent again. */
const CONNECTION_LOST = new Set(["ECONNRESET", "EPIPE", "ECONNREFUSED", "ETIMEDOUT"]);

export function createKubeHttp(endpoint: KubeEndpoint, clock: Clock, userAgent: string): KubeHttp {
  const parts = { endpoint, clock, userAgent };
  return {
    send: (method, path, body, options = {}) =>
      withDeadline(clock, options.timeoutMillis ?? TIMEOUT_MILLIS, options.signal, (signal) =>
        sendWithRetries(parts, { method, path, body, options, signal }),
      ),
    lines: (path, options) => openLines(parts, path, options),
    [Symbol.dispose]: () => endpoint[Symbol.dispose](),
  };
}

interface Parts {
  readonly endpoint: KubeEndpoint;
  readonly clock: Clock;
  readonly userAgent: string;
}
interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly body: JsonValue | undefined;
  readonly options: Omit<RequestOptions, "signal" | "timeoutMillis">;
  readonly signal: AbortSignal;
}

async function sendWithRetries(parts: Parts, exchange: Exchange): Promise<JsonValue> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await sendOnce(parts, exchange);
    } catch (error) {
      const wait = retryWaitMillis(error, exchange.method, attempt);
      if (wait === undefined || exchange.signal.aborted) throw error;
      await parts.clock.sleep(wait, exchange.signal);
    }
  }
}

/** How long to wait before another attempt; undefined when there must be none. */
function retryWaitMillis(error: unknown, method: string, attempt: number): Millis | undefined {
  if (!(error instanceof KubeError) || attempt >= ATTEMPTS_MAX) return undefined;
  // 429 says that nothing was done. A lost connection says nothing, so a POST, which may have created, is not repeated.
  const repeatable =
    error.status === 429 || (method !== "POST" && (error.reason === "ConnectionLost" || isAway(error)));
  if (!repeatable) return undefined;
  const wait = error.retryAfterMillis ?? backoffMillis(RETRY_BACKOFF, attempt);
  return wait <= RETRY_AFTER_MILLIS_MAX ? wait : undefined;
}

function isAway(error: KubeError): boolean {
  return error.status === 503 && error.retryAfterMillis !== undefined;
}

async function sendOnce(parts: Parts, exchange: Exchange): Promise<JsonValue> {
  const what = `${exchange.method} ${exchange.path}`;
  try {
    const answer = await open(parts, exchange);
    const text = await readText(answer, what);
    const status = answer.statusCode ?? 0;
    if (status < 200 || status > 299)
      throw errorOfAnswer({ what, status, body: text, retryAfter: answer.headers["retry-after"] });
    return text === "" ? null : parseJson(text);
  } catch (error) {
    if (exchange.signal.reason instanceof DeadlineExceeded) await dropIdle(parts);
    throw asKubeError(error, what, exchange.signal);
  }
}

/**
 * Closes connections that wait for a next request. Where one died in silence (a router that forgot it), those beside it
 * mostly did too, and each would cost the next request its whole deadline.
 */
async function dropIdle({ endpoint }: Parts): Promise<void> {
  const { agent } = await endpoint.requestOptions();
  if (!(agent instanceof Agent)) return;
  for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
}

async function open(parts: Parts, exchange: Exchange): Promise<IncomingMessage> {
  const { endpoint } = parts;
  const auth = await endpoint.requestOptions();
  exchange.signal.throwIfAborted();
  const body = exchange.body === undefined ? undefined : Buffer.from(JSON.stringify(exchange.body));
  const headers: Record<string, string | number> = {
    accept: exchange.options.accept ?? "application/json",
    "user-agent": parts.userAgent,
    ...(body === undefined
      ? {}
      : { "content-type": exchange.options.contentType ?? "application/json", "content-length": body.length }),
  };
  const url = addressOf(endpoint.server, exchange.path, exchange.options.query ?? {});
  const send = url.protocol === "http:" ? requestHttp : requestHttps;
  const options = {
    ...auth,
    method: exchange.method,
    headers: { ...auth.headers, ...headers },
    signal: exchange.signal,
  };
  return new Promise((resolve, reject) => {
    const request = send(url, options, resolve);
    request.on("error", reject);
    request.end(body);
  });
}

function addressOf(server: URL, path: string, query: QueryValues): URL {
  const url = new URL(server.pathname.replace(/\/$/, "") + path, server);
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
  return url;
}

async function readText(answer: IncomingMessage, what: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer) {
    if (!(chunk instanceof Buffer)) continue;
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX)
      throw new KubeError({ status: 0, reason: "TooLarge", message: `${what}: the answer is above the limit` });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function asKubeError(error: unknown, what: string, signal: AbortSignal): unknown {
  if (error instanceof KubeError) return error;
  if (signal.reason instanceof DeadlineExceeded)
    return new KubeError({ status: 0, reason: "Timeout", message: `${what}: ${signal.reason.message}`, cause: error });
  if (signal.aborted) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const reason = CONNECTION_LOST.has(code) ? "ConnectionLost" : "Unreachable";
  return new KubeError({ status: 0, reason, message: `${what}: ${messageOf(error)}`, cause: error });
}

async function* openLines(
  parts: Parts,
  path: string,
  options: { query: QueryValues; accept?: string | undefined; signal: AbortSignal },
): LineStream {
  const what = `GET ${path}`;
  try {
    const answer = await openWatch(parts, path, options);
    const status = answer.statusCode ?? 0;
    if (status !== 200)
      throw errorOfAnswer({
        what,
        status,
        body: await readText(answer, what),
        retryAfter: answer.headers["retry-after"],
      });
    yield* splitLines(answer, what);
  } catch (error) {
    if (options.signal.reason instanceof DeadlineExceeded || isTimeout(error)) await dropIdle(parts);
    throw asKubeError(error, what, options.signal);
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof KubeError && error.reason === "Timeout";
}

/** The answer's head within a time of its own; its body goes on for as long as the signal lets it. */
async function openWatch(
  parts: Parts,
  path: string,
  options: { query: QueryValues; accept?: string | undefined; signal: AbortSignal },
): Promise<IncomingMessage> {
  const late = new AbortController();
  const opened = new AbortController();
  const signal = AbortSignal.any([options.signal, late.signal]);
  void parts.clock.sleep(WATCH_OPEN_MILLIS, opened.signal).then(() => {
    if (!opened.signal.aborted) late.abort();
  });
  try {
    return await open(parts, { method: "GET", path, body: undefined, options, signal });
  } catch (error) {
    if (!late.signal.aborted) throw error;
    const message = `GET ${path}: no answer within ${WATCH_OPEN_MILLIS / 1000} s`;
    throw new KubeError({ status: 0, reason: "Timeout", message, cause: error });
  } finally {
    opened.abort();
  }
}

async function* splitLines(answer: IncomingMessage, what: string): LineStream {
  answer.setEncoding("utf8");
  let rest = "";
  for await (const chunk of answer) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > WATCH_LINE_CHARACTERS_MAX)
      throw new KubeError({ status: 0, reason: "TooLarge", message: `${what}: a line is above the limit` });
    for (const line of lines) if (line !== "") yield line;
  }
  // An unfinished last line is an event cut off by the connection's end: the next watch brings it again.
}
