// Values of a secret as text, the same in every format that has no types of its own. Messages name keys, never values.
import { CofferError } from "#common/errors.ts";
import { isNumberLiteral, type JsonObject, type JsonValue } from "#common/json.ts";

/** A string as it is, other scalars as JSON spells them, lists and objects as JSON. null is the empty text. */
export function textOf(value: JsonValue): string {
  if (typeof value === "string") return value;
  if (value === null) return "";
  return isNumberLiteral(value) ? value.rawJSON : JSON.stringify(value);
}

/** The text of one key. Throws `not_found` naming key and source. */
export function textOfKey(data: JsonObject, key: string, source: string): string {
  const value = Object.hasOwn(data, key) ? data[key] : undefined;
  if (value === undefined) {
    throw new CofferError("not_found", `the source "${source}" has no key "${key}"; it has ${keysOf(data)}`);
  }
  return textOf(value);
}

function keysOf(data: JsonObject): string {
  const keys = Object.keys(data).sort();
  return keys.length === 0 ? "none" : keys.map((key) => `"${key}"`).join(", ");
}
