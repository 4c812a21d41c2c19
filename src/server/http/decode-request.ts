// From an HTTP message to a Request of the core: method to operation, path, token, wrapping, paging.
import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { methodOf } from "#common/http/list-method.ts";
import type { JsonObject, JsonValue } from "#common/json.ts";
import type { Request } from "../core/request.ts";
import type { Operation } from "../framework/context.ts";
import type { Page } from "../storage/storage.ts";
import { parseBody, parseForm, readBody } from "./read-body.ts";

/** Longer paths are refused: they would not fit a storage key. */
export const PATH_BYTES_MAX = 2_048;
/** Names on one page when the client does not say. */
export const PAGE_LIMIT_DEFAULT = 100_000;

const METHODS: Readonly<Record<string, Operation>> = {
  GET: "read",
  HEAD: "read",
  POST: "update",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
  LIST: "list",
  SCAN: "scan",
  HELP: "help",
};
const READS_BODY: ReadonlySet<Operation> = new Set(["update", "patch"]);

export interface DecodeOptions {
  readonly bodyBytesMax: number;
  /** The client's address, proxies that are believed taken into account. */
  readonly remoteAddress: string;
  /** The client wants to go on with this protocol. */
  readonly upgrade?: "websocket";
  /** Whether a write to this path has a body that is handed on as it comes. */
  readonly takesStream?: ((path: string) => boolean) | undefined;
  /** Called when all of the request has come in. */
  readonly onRead?: () => void;
}

/** Throws CofferError for what cannot be a request. `target` is the part behind "/v1/". */
export async function decodeRequest(
  message: IncomingMessage,
  target: string,
  options: DecodeOptions,
): Promise<Request> {
  const at = target.indexOf("?");
  const query = at < 0 ? {} : parseForm(target.slice(at + 1));
  const operation = operationOf(message, query);
  const path = decodePath(at < 0 ? target : target.slice(0, at));
  const isStreamed = operation === "update" && options.takesStream?.(path) === true;
  const body = READS_BODY.has(operation) && !isStreamed ? await readBody(message, options.bodyBytesMax) : undefined;
  options.onRead?.();
  return {
    id: randomUUID(),
    operation,
    path,
    namespace: namespaceOf(message.headers),
    clientToken: tokenOf(message.headers),
    headers: message.headers,
    data: body ? parseBody(body, message.headers["content-type"]) : isStreamed ? {} : query,
    query,
    // Leaving an ordinary loop over the message would destroy the connection, and the answer with it.
    ...(isStreamed && { bodyStream: { bytes: message.iterator({ destroyOnReturn: false }) } }),
    wrapTtlSeconds: wrapTtlOf(message.headers),
    ...(headerText(message.headers, "x-vault-wrap-format") === "jwt" && { wrapFormat: "jwt" as const }),
    ...(options.upgrade && { upgrade: options.upgrade }),
    remoteAddress: options.remoteAddress,
    remotePort: message.socket.remotePort ?? 0,
    page: pageOf(query, operation),
  };
}

function operationOf(message: IncomingMessage, query: JsonObject): Operation {
  const method = methodOf(message);
  if (method === "OPTIONS") throw new CofferError("invalid_request", "cannot handle internal-only request operation");
  const operation = METHODS[method];
  if (!operation) throw new CofferError("unsupported_operation", "");
  if (operation === "patch" && !message.headers["content-type"]?.startsWith("application/merge-patch+json")) {
    throw new CofferError("unsupported_media_type", "PATCH wants the content type application/merge-patch+json");
  }
  if (operation !== "read") return operation;
  if (query["help"] !== undefined && flagOf(query["help"])) return "help";
  if (query["scan"] !== undefined && flagOf(query["scan"])) return "scan";
  return query["list"] !== undefined && flagOf(query["list"]) ? "list" : "read";
}

function flagOf(value: JsonValue): boolean {
  if (value === "1" || value === "t" || value === "T" || value === "true" || value === "True" || value === "TRUE")
    return true;
  if (value === "0" || value === "f" || value === "F" || value === "false" || value === "False" || value === "FALSE")
    return false;
  throw new CofferError("invalid_request", "");
}

function decodePath(raw: string): string {
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch (error) {
    throw new CofferError("invalid_request", "the path is not valid UTF-8 in percent encoding", { cause: error });
  }
  if (/\p{Cc}/u.test(path)) throw new CofferError("invalid_request", "");
  if (Buffer.byteLength(path) > PATH_BYTES_MAX)
    throw new CofferError("invalid_request", `the path is longer than ${PATH_BYTES_MAX} bytes`);
  return path.replace(/^\/+/, "");
}

/** Without slashes around it; in UTF-8, of which the parser makes Latin-1. */
function namespaceOf(headers: IncomingHttpHeaders): string {
  const text = Buffer.from(headerText(headers, "x-vault-namespace"), "latin1").toString("utf8");
  return text.replace(/^\/+|\/+$/g, "");
}

function headerText(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? "";
}

/** X-Vault-Token, else a bearer token. */
function tokenOf(headers: IncomingHttpHeaders): string {
  const token = headerText(headers, "x-vault-token");
  if (token !== "") return token;
  const authorization = headers.authorization ?? "";
  return authorization.startsWith("Bearer ") ? authorization.slice("Bearer ".length).trim() : "";
}

function wrapTtlOf(headers: IncomingHttpHeaders): number | undefined {
  const text = headerText(headers, "x-vault-wrap-ttl");
  if (text === "") return undefined;
  const seconds = parseDurationSeconds(text);
  if (seconds === undefined) {
    throw new CofferError(
      "invalid_request",
      `error parsing X-Vault-Wrap-TTL header: time: invalid duration ${JSON.stringify(text)}`,
    );
  }
  if (seconds < 0)
    throw new CofferError(
      "invalid_request",
      "error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative",
    );
  // 0 asks for no wrapping. Less than a second asks for it, and must not come to an answer in clear.
  return seconds === 0 && /[1-9]/.test(text) ? 1 : seconds;
}

/** Throws `invalid_request` for a listing's limit that is no number; one that is not above 0 is none. */
function pageOf(query: JsonObject, operation: Operation): Page {
  const { after, limit = "" } = query;
  const isNumber = typeof limit === "string" && /^-?\d{1,15}$/.test(limit);
  if (!isNumber && limit !== "" && (operation === "list" || operation === "scan"))
    throw new CofferError(
      "invalid_request",
      `error converting input for field "limit": cannot parse 'limit' as int: ${JSON.stringify(limit)} is not a whole number`,
    );
  const wanted = isNumber ? Number(limit) : 0;
  return {
    limit: wanted > 0 ? Math.min(wanted, PAGE_LIMIT_DEFAULT) : PAGE_LIMIT_DEFAULT,
    ...(typeof after === "string" && after !== "" && { after }),
  };
}
