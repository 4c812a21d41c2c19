// Calls of a cluster's API server: one request over node:https with connections kept open, a time limit and a size
// limit. Knows nothing of what is asked.
import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";

/** An API server answers in milliseconds; clients of a login wait for no longer than this. */
const CALL_TIMEOUT_MILLIS = 10_000;
/** A TokenReview repeats the token, a Namespace has labels and annotations; 256 KiB is far more than any of them. */
export const ANSWER_BYTES_MAX = 256 * 1024;

/** Which API server, and as whom it is asked. */
export interface ApiServer {
  /** Base URL. */
  readonly host: string;
  /** CA as PEM; undefined for the system's. */
  readonly ca: string | undefined;
  /** The token that asks. */
  readonly bearer: string;
}

export interface ApiCall {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** JSON. */
  readonly body?: string;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: string;
}

/** Throws when there is no answer in time, or one that is too long. */
export type CallApi = (server: ApiServer, call: ApiCall) => Promise<ApiAnswer>;

/** Calls over a pool of connections of its own. */
export function createCallApi(): CallApi {
  const agents = { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) };
  return ({ host, ca, bearer }, { method, path, body }) => {
    const url = new URL(path, host);
    const secure = url.protocol === "https:";
    const options: RequestOptions & { ca?: string } = {
      method,
      agent: secure ? agents.https : agents.http,
      signal: AbortSignal.timeout(CALL_TIMEOUT_MILLIS),
      headers: {
        Authorization: `Bearer ${bearer}`,
        Accept: "application/json",
        ...(body !== undefined && {
          "Content-Type": "application/json",
          "Content-Length": Buffer.byteLength(body),
        }),
      },
      ...(ca !== undefined && { ca }),
    };
    return new Promise((resolve, reject) => {
      const sent = (secure ? httpsRequest : httpRequest)(url, options, (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > ANSWER_BYTES_MAX) sent.destroy(new Error("the API server's answer is too large"));
          else chunks.push(chunk);
        });
        response.on("error", reject);
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") });
        });
      });
      sent.on("error", reject);
      sent.end(body);
    });
  };
}
