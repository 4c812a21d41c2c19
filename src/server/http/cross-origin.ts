// Cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol): what a browser must be told so that pages
// of an allowed origin may read answers, and the refusal of all others.
import type { IncomingMessage } from "node:http";
import { CofferError } from "#common/errors.ts";
import { type CrossOriginRules, isOriginAllowed } from "../core/cross-origin.ts";

const METHODS = ["DELETE", "GET", "OPTIONS", "POST", "PUT", "LIST", "PATCH", "SCAN"];
/** Browsers ask again after this long. */
const MAX_AGE_SECONDS = 300;

export interface CrossOriginVerdict {
  readonly headers: Readonly<Record<string, string>>;
  /** The request was only the browser's question whether it may ask. */
  readonly isPreflight: boolean;
}

/** Undefined for a request that names no origin. Throws for one that is not allowed. */
export async function judgeOrigin(
  message: IncomingMessage,
  method: string,
  readRules: () => Promise<CrossOriginRules | undefined>,
): Promise<CrossOriginVerdict | undefined> {
  const { origin } = message.headers;
  if (origin === undefined) return undefined;
  const rules = await readRules();
  if (!rules) return undefined;
  if (!isOriginAllowed(rules, origin)) throw new CofferError("permission_denied", "origin not allowed");
  const headers = {
    "Access-Control-Allow-Origin": origin,
    Vary: "Origin",
    ...(rules.credentials && { "Access-Control-Allow-Credentials": "true" }),
  };
  if (method !== "OPTIONS") return { headers, isPreflight: false };
  const wanted = message.headers["access-control-request-method"];
  if (wanted === undefined || !METHODS.includes(wanted)) throw new CofferError("unsupported_operation", "");
  return {
    isPreflight: true,
    headers: {
      ...headers,
      "Access-Control-Allow-Methods": METHODS.join(","),
      "Access-Control-Allow-Headers": rules.headers.join(","),
      "Access-Control-Max-Age": String(MAX_AGE_SECONDS),
    },
  };
}
