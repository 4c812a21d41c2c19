// Request bodies: read up to a limit, then JSON or form fields. Any content type but a form's is read as JSON, as
// clients of Vault rely on.
import type { IncomingMessage } from "node:http";
import { CofferError } from "#common/errors.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";

/** 32 MiB, the limit clients of Vault know. */
export const BODY_BYTES_MAX = 32 * 1024 * 1024;

/** Of a body that is too large this much more is read and thrown away, so that the client hears why before it stops. */
const DISCARDED_BYTES_MIN = 1024 * 1024;

/** Throws `too_large`; then the connection is of no more use unless `message.complete`. */
export async function readBody(message: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const discardedMax = bytesMax + Math.max(bytesMax, DISCARDED_BYTES_MIN);
  const declared = Number(message.headers["content-length"] ?? 0);
  if (declared > discardedMax) throw tooLarge(bytesMax);
  let size = 0;
  // Leaving an ordinary loop over the message would destroy the connection, and the answer with it.
  for await (const chunk of message.iterator({ destroyOnReturn: false })) {
    if (!Buffer.isBuffer(chunk)) throw new Error("a request is read as bytes");
    size += chunk.length;
    if (size > discardedMax) break;
    if (size <= bytesMax && declared <= bytesMax) chunks.push(chunk);
    else chunks.length = 0;
  }
  if (size > bytesMax) throw tooLarge(bytesMax);
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
}

function tooLarge(bytesMax: number): CofferError {
  return new CofferError("too_large", `the request's body is larger than ${bytesMax} bytes`);
}

/** The members of a body; an empty one has none. Throws `invalid_request`. */
export function parseBody(body: Buffer, contentType: string | undefined): JsonObject {
  if (body.length === 0) return {};
  if (isForm(body, contentType)) return parseForm(body.toString("utf8"));
  const text = body.toString("utf8");
  let value: JsonValue;
  try {
    value = parseJson(text);
  } catch (error) {
    if (!(error instanceof CofferError)) throw error;
    throw new CofferError("invalid_request", `failed to decode JSON input: ${jsonFault(error, text)}`, {
      cause: error,
    });
  }
  if (value === null) return {};
  if (isJsonObject(value)) return value;
  throw new CofferError(
    "invalid_request",
    `failed to decode JSON input: json: cannot unmarshal ${kindOf(value)} into Go value of type map[string]interface {}`,
  );
}

function kindOf(value: JsonValue): string {
  if (isJsonArray(value)) return "array";
  if (typeof value === "boolean") return "bool";
  return typeof value === "string" ? "string" : "number";
}

/** Where the text stops being JSON, in the words that clients know. Of the text, which may be secret, one character. */
function jsonFault(error: CofferError, text: string): string {
  if (!(error.cause instanceof SyntaxError)) return error.message;
  const position = Number(/at position (\d+)/.exec(error.cause.message)?.[1] ?? text.search(/[^ \t\r\n]/));
  if (/end of JSON|Unterminated/.test(error.cause.message) || position >= text.trimEnd().length)
    return "unexpected EOF";
  const character = String.fromCodePoint(text.codePointAt(Math.max(position, 0)) ?? 0);
  return `invalid character '${character}' looking for beginning of value`;
}

/** curl -d calls every body a form, and half the world's scripts send JSON with it: a brace at the start decides. */
function isForm(body: Buffer, contentType: string | undefined): boolean {
  return (
    contentType?.startsWith("application/x-www-form-urlencoded") === true &&
    !/^\s*\{/.test(body.subarray(0, 64).toString("latin1"))
  );
}

/** Form and query fields; one that comes several times is a list. */
export function parseForm(text: string): JsonObject {
  const fields = new Map<string, string | readonly string[]>();
  for (const [name, value] of new URLSearchParams(text)) {
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : [...(typeof before === "string" ? [before] : before), value]);
  }
  return Object.fromEntries(fields);
}
