// Custom metadata of a KV version 2 key: texts by name, within the limits that Vault's documentation gives.
import { CofferError } from "#common/errors.ts";
import { isJsonObject, isNumberLiteral, type JsonObject, type JsonValue } from "#common/json.ts";
import { mergePatch } from "#common/merge-patch.ts";

export const CUSTOM_METADATA_KEYS_MAX = 64;
export const CUSTOM_METADATA_KEY_BYTES_MAX = 128;
export const CUSTOM_METADATA_VALUE_BYTES_MAX = 512;

export type CustomMetadata = Readonly<Record<string, string>>;

/** Custom metadata from what a client sent; numbers and booleans become texts. Throws `invalid_request`. */
export function parseCustomMetadata(sent: JsonValue): CustomMetadata {
  if (!isJsonObject(sent)) throw refused("it must be an object of texts");
  return checked(Object.fromEntries(Object.entries(sent).map(([name, value]) => [name, textOf(value)])));
}

/** Merges what a client sent; null removes a name. */
export function patchCustomMetadata(before: CustomMetadata, sent: JsonObject): CustomMetadata {
  return parseCustomMetadata(mergePatch(before, sent));
}

function textOf(value: JsonValue): string {
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "number") return String(value);
  if (isNumberLiteral(value)) return value.rawJSON;
  const type = value === null ? "nil" : isJsonObject(value) ? "map[string]interface {}" : "[]interface {}";
  throw refused(`'' expected type 'string', got unconvertible type '${type}'`);
}

function checked(metadata: CustomMetadata): CustomMetadata {
  const entries = Object.entries(metadata);
  if (entries.length > CUSTOM_METADATA_KEYS_MAX)
    throw refused(`payload must contain at most ${CUSTOM_METADATA_KEYS_MAX} keys, provided ${entries.length}`);
  for (const [name, value] of entries) {
    assertLength(`length of key "${name}"`, "key", name, CUSTOM_METADATA_KEY_BYTES_MAX);
    assertLength(`length of value for key "${name}"`, "value", value, CUSTOM_METADATA_VALUE_BYTES_MAX);
  }
  return metadata;
}

function assertLength(what: string, word: string, text: string, max: number): void {
  const bytes = Buffer.byteLength(text);
  if (bytes === 0 || bytes > max) throw refused(`${what} is ${bytes} but must be 0 < len(${word}) <= ${max}`);
}

function refused(reason: string): CofferError {
  return new CofferError("invalid_request", `custom_metadata validation failed: ${reason}`);
}
