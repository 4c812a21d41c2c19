// The metadata field of a secret id: a text that holds JSON (as clients send it), base64 of it, or k=v,k=v.
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonValue, parseJson } from "#common/json.ts";

/** It ends up in every token's record. */
export const SECRET_METADATA_BYTES_MAX = 16 * 1024;

/** Metadata from the client's text. Throws `invalid_request`. */
export function parseSecretMetadata(sent: string): Readonly<Record<string, string>> {
  if (Buffer.byteLength(sent) > SECRET_METADATA_BYTES_MAX)
    throw new CofferError("invalid_request", `metadata is longer than ${SECRET_METADATA_BYTES_MAX} bytes`);
  const text = sent.trim();
  if (text === "") return {};
  const decoded = Buffer.from(text, "base64").toString("utf8");
  const json = text.startsWith("{") ? text : decoded.startsWith("{") ? decoded : undefined;
  return json === undefined ? pairsOf(text) : textsOf(parseJson(json));
}

function textsOf(value: JsonValue): Readonly<Record<string, string>> {
  if (!isJsonObject(value)) throw refused();
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => {
      if (typeof member !== "string") throw refused();
      return [name, member];
    }),
  );
}

function pairsOf(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    text.split(",").map((pair) => {
      const at = pair.indexOf("=");
      if (at <= 0) throw refused();
      return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
    }),
  );
}

function refused(): CofferError {
  return new CofferError("invalid_request", "metadata must be JSON text of an object of texts, or k=v,k=v");
}
