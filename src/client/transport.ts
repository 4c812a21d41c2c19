// One HTTP exchange over node:http or node:https with keep-alive: connect, send, collect the answer within a deadline
// and a size. It knows nothing of the API's paths, tokens or retries. Not `fetch`: that costs an agent 20 MiB more.
import http from "node:http";
import https from "node:https";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { ConnectionFailure } from "./api-error.ts";

/** Idle connections are closed after this; servers commonly keep them for 5 s and announce it. */
const IDLE_MILLIS = 30_000;
/** One client keeps at most this many connections. */
const SOCKETS_MAX = 32;

export interface TlsOptions {
  /** PEM certificates trusted instead of the system's; a function is asked at each call, for bundles that rotate. */
  readonly ca?: string | Buffer | (() => string | Buffer | undefined) | undefined;
  readonly clientCertificate?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  /** Accepts any certificate. */
  readonly skipVerify?: boolean | undefined;
  /** Name that the certificate must have, when it is not the address's host. */
  readonly serverName?: string | undefined;
}

export interface ExchangeRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | undefined;
  readonly timeoutMillis: Millis;
  readonly responseBytesMax: number;
  readonly signal?: AbortSignal | undefined;
}

export interface ExchangeResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly bytes: Buffer;
}

/** No answer came; `failure` says why. */
export class TransportError extends Error {
  readonly failure: ConnectionFailure;
  /** True when the request certainly never reached a server. */
  readonly unsent: boolean;
  constructor(failure: ConnectionFailure, detail: string, options?: { cause?: unknown; unsent?: boolean }) {
    super(detail, options);
    this.failure = failure;
    this.unsent = options?.unsent ?? false;
  }
}

export interface Transport {
  exchange(request: ExchangeRequest): Promise<ExchangeResponse>;
  close(): void;
}

/** A pool of connections for http: and https: addresses. */
export function createTransport(options: { tls: TlsOptions; clock: Clock }): Transport {
  const pool = { keepAlive: true, keepAliveMsecs: 10_000, maxSockets: SOCKETS_MAX, timeout: IDLE_MILLIS };
  const plain = new http.Agent(pool);
  const secure = new https.Agent(pool);
  return {
    exchange: (request) =>
      exchangeOnce(request, options.clock, (settings) =>
        request.url.protocol === "https:"
          ? https.request(request.url, { ...settings, ...tlsSettings(options.tls), agent: secure })
          : http.request(request.url, { ...settings, agent: plain }),
      ),
    close: () => {
      plain.destroy();
      secure.destroy();
    },
  };
}

/** What Node's https wants to know of it. Per call, not per pool: the pool keeps connections of different settings apart by itself. */
export function tlsSettings(tls: TlsOptions): https.RequestOptions {
  const ca = typeof tls.ca === "function" ? tls.ca() : tls.ca;
  const own = tls.clientCertificate;
  return {
    minVersion: "TLSv1.2",
    rejectUnauthorized: !(tls.skipVerify ?? false),
    ...(ca === undefined ? {} : { ca }),
    ...(own === undefined ? {} : { cert: own.cert, key: own.key }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
  };
}

type Open = (settings: http.RequestOptions) => http.ClientRequest;

async function exchangeOnce(request: ExchangeRequest, clock: Clock, open: Open): Promise<ExchangeResponse> {
  if (request.signal?.aborted) throw cancelled();
  const settled = new AbortController();
  const { promise, resolve, reject } = Promise.withResolvers<ExchangeResponse>();
  const call = open({ method: request.method, headers: request.headers });
  // Rejects before destroying: what a destroyed call reports by itself is only that it was cut.
  const fail = (error: Error) => {
    reject(error);
    call.destroy();
  };
  const cancel = () => fail(cancelled());
  request.signal?.addEventListener("abort", cancel, { once: true });
  // The deadline is a sleeper of the clock; settling the call aborts the sleep, so no timer is left behind.
  void clock.sleep(request.timeoutMillis, settled.signal).then(() => {
    if (!settled.signal.aborted) fail(new TransportError("timeout", `waited ${request.timeoutMillis} ms`));
  });
  call.on("error", reject);
  call.on("response", (response) => collect(response, request.responseBytesMax, resolve, fail));
  call.end(request.body);
  try {
    return await promise;
  } catch (error) {
    throw classify(error);
  } finally {
    settled.abort();
    request.signal?.removeEventListener("abort", cancel);
  }
}

function cancelled(): CofferError {
  return new CofferError("unavailable", "the call was cancelled");
}

function collect(
  response: http.IncomingMessage,
  bytesMax: number,
  resolve: (response: ExchangeResponse) => void,
  fail: (error: Error) => void,
): void {
  const chunks: Buffer[] = [];
  let size = 0;
  response.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > bytesMax) fail(new TransportError("too_large", `more than ${bytesMax} bytes`));
    else chunks.push(chunk);
  });
  response.on("error", fail);
  response.on("end", () => {
    resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes: Buffer.concat(chunks) });
  });
}

/** System and OpenSSL codes, as Node reports them in `error.code`. */
const FAILURE_OF_CODE: Readonly<Record<string, { failure: ConnectionFailure; unsent: boolean }>> = {
  ECONNREFUSED: { failure: "refused", unsent: true },
  EHOSTUNREACH: { failure: "refused", unsent: true },
  ENETUNREACH: { failure: "refused", unsent: true },
  ENOTFOUND: { failure: "unknown_host", unsent: true },
  EAI_AGAIN: { failure: "unknown_host", unsent: true },
  ETIMEDOUT: { failure: "timeout", unsent: false },
  EPROTO: { failure: "not_tls", unsent: true },
  ERR_SSL_WRONG_VERSION_NUMBER: { failure: "not_tls", unsent: true },
  ERR_SSL_PACKET_LENGTH_TOO_LONG: { failure: "not_tls", unsent: true },
  ERR_TLS_CERT_ALTNAME_INVALID: { failure: "untrusted_certificate", unsent: true },
  SELF_SIGNED_CERT_IN_CHAIN: { failure: "untrusted_certificate", unsent: true },
  DEPTH_ZERO_SELF_SIGNED_CERT: { failure: "untrusted_certificate", unsent: true },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: { failure: "untrusted_certificate", unsent: true },
  UNABLE_TO_GET_ISSUER_CERT: { failure: "untrusted_certificate", unsent: true },
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: { failure: "untrusted_certificate", unsent: true },
  CERT_SIGNATURE_FAILURE: { failure: "untrusted_certificate", unsent: true },
  CERT_HAS_EXPIRED: { failure: "untrusted_certificate", unsent: true },
  CERT_NOT_YET_VALID: { failure: "untrusted_certificate", unsent: true },
};

/** A failure of the connection as a TransportError; others as they are. */
export function classify(error: unknown): unknown {
  if (error instanceof TransportError || error instanceof CofferError) return error;
  const code = codeOf(error);
  const known = FAILURE_OF_CODE[code];
  // OpenSSL's other codes (bad alerts, no shared cipher) come during the handshake, before anything was sent.
  if (known === undefined) return new TransportError("closed", code, { cause: error });
  return new TransportError(known.failure, code, { cause: error, unsent: known.unsent });
}

function codeOf(error: unknown): string {
  // Several addresses of one name fail together as an AggregateError, which carries the code of the last.
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return "unknown failure";
}
