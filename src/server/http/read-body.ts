// Request bodies: read up to a limit, then JSON or form fields. Any content type but a form's is read as JSON, as
// clients of Vault rely on.
import type { IncomingMessage } from "node:http";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";

/** 32 MiB, the limit clients of Vault know. */
export const BODY_BYTES_MAX = 32 * 1024 * 1024;

export async function readBody(message: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const declared = Number(message.headers["content-length"] ?? 0);
  if (declared > bytesMax) throw tooLarge(bytesMax);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message) {
    if (!Buffer.isBuffer(chunk)) throw new Error("a request is read as bytes");
    size += chunk.length;
    if (size > bytesMax) throw tooLarge(bytesMax);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
}

function tooLarge(bytesMax: number): CofferError {
  return new CofferError("too_large", `the request's body is larger than ${bytesMax} bytes`);
}

/** The members of a body; an empty one has none. Throws `invalid_request`. */
export function parseBody(body: Buffer, contentType: string | undefined): JsonObject {
  if (body.length === 0) return {};
  if (isForm(body, contentType)) return parseForm(body.toString("utf8"));
  try {
    const value = parseJson(body.toString("utf8"));
    if (value === null) return {};
    if (isJsonObject(value)) return value;
  } catch (error) {
    if (error instanceof CofferError)
      throw new CofferError("invalid_request", `failed to decode JSON input: ${error.message}`, { cause: error });
    throw error;
  }
  throw new CofferError("invalid_request", "failed to decode JSON input: the body must be a JSON object");
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
