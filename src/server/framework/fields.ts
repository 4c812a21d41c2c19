// The fields of a path: name, type, default, help. Clients send everything as JSON, query or form text, so conversion is
// weak as Vault's is: "1" is a number, 1 is a text, "a,b" is a list, "30m" is 1800 seconds.

import { DURATION_SECONDS_MAX, parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonArray, isJsonObject, isNumberLiteral, type JsonObject, type JsonValue } from "#common/json.ts";

export interface Field<T> {
  /** The type's name in OpenAPI. */
  readonly type: "string" | "integer" | "boolean" | "array" | "object" | "any";
  readonly format?: string;
  readonly description: string;
  readonly required: boolean;
  readonly deprecated: boolean;
  readonly default?: JsonValue;
  /** Converts what came; throws `invalid_request`. */
  convert(value: JsonValue, name: string): T;
  readonly fallback: T | undefined;
}

export interface FieldOptions {
  readonly deprecated?: boolean;
  /** The longest text, in UTF-8: of the whole, of an item of a list, of a name or value of pairs. Else the body's limit. */
  readonly bytesMax?: number;
  /** The most items of a list or pairs. */
  readonly itemsMax?: number;
}

/** Items of a list or pairs, where a field does not say otherwise: members of a group are the most that anybody sends. */
export const ITEMS_MAX = 10_000;
/** Names that become a part of a storage key, which is limited. */
export const NAME_BYTES_MAX = 512;
/** Of lists of policies: each policy is looked up with every request of a token. */
export const policyNames = { bytesMax: NAME_BYTES_MAX, itemsMax: 1_000 } as const;
/** Texts for people: descriptions and what is shown. */
export const LABEL_BYTES_MAX = 4_096;

/** Field text as Vault's clients see it in an error. */
function refuse(name: string, reason: string): never {
  throw new CofferError("invalid_request", `error converting input for field "${name}": ${reason}`);
}

function textOf(value: JsonValue, name: string): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  if (typeof value === "boolean") return value ? "1" : "0";
  if (isNumberLiteral(value)) return value.rawJSON;
  return refuse(name, `expected type 'string', got ${describe(value)}`);
}

function describe(value: JsonValue): string {
  if (value === null) return "null";
  if (isJsonArray(value)) return "a list";
  return isJsonObject(value) ? "an object" : typeof value;
}

function integerOf(value: JsonValue, name: string): number {
  if (value === "") return 0;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "object" && !isNumberLiteral(value)) refuse(name, `expected type 'int', got ${describe(value)}`);
  const number = Number(isNumberLiteral(value) ? value.rawJSON : value);
  if (!Number.isInteger(number))
    refuse(name, `cannot parse '${name}' as int: "${textOf(value, name)}" is not a whole number`);
  return number;
}

const TRUE = new Set(["1", "t", "T", "TRUE", "true", "True"]);
const FALSE = new Set(["0", "f", "F", "FALSE", "false", "False", ""]);

function flagOf(value: JsonValue, name: string): boolean {
  if (typeof value === "boolean") return value;
  if (typeof value === "number") return value !== 0;
  const text = textOf(value, name);
  if (TRUE.has(text)) return true;
  if (FALSE.has(text)) return false;
  return refuse(name, `cannot parse '${name}' as bool: "${text}" is neither true nor false`);
}

function secondsOf(value: JsonValue, name: string): number {
  if (typeof value === "number" || isNumberLiteral(value)) {
    const seconds = Math.trunc(Number(isNumberLiteral(value) ? value.rawJSON : value));
    return Math.abs(seconds) <= DURATION_SECONDS_MAX ? seconds : refuse(name, "longer than 292 years");
  }
  if (typeof value !== "string") return refuse(name, `expected a duration, got ${describe(value)}`);
  return parseDurationSeconds(value) ?? refuse(name, `time: invalid duration ${JSON.stringify(value)}`);
}

function listOf(value: JsonValue, name: string): readonly string[] {
  if (isJsonArray(value)) return value.map((item) => textOf(item, name).trim());
  const text = textOf(value, name);
  return text === "" ? [] : text.split(",").map((item) => item.trim());
}

function pairsOf(value: JsonValue, name: string): Readonly<Record<string, string>> {
  if (isJsonObject(value)) return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, textOf(v, name)]));
  const items = isJsonArray(value) ? value.map((item) => textOf(item, name)) : textOf(value, name).split(",");
  return Object.fromEntries(
    items.filter(Boolean).map((item) => {
      const at = item.indexOf("=");
      if (at < 0) refuse(name, `"${item}" is not of the form key=value`);
      return [item.slice(0, at).trim(), item.slice(at + 1).trim()];
    }),
  );
}

function objectOf(value: JsonValue, name: string): JsonObject {
  return isJsonObject(value) ? value : refuse(name, `expected type 'map', got ${describe(value)}`);
}

/** Refuses a text, or a list's or pairs', that is longer than the field takes. */
function assertWithin(value: unknown, name: string, { bytesMax, itemsMax = ITEMS_MAX }: FieldOptions): void {
  const texts = typeof value === "string" ? [value] : Array.isArray(value) ? value : Object.entries(value ?? {}).flat();
  const items = typeof value === "object" && !Array.isArray(value) ? texts.length / 2 : texts.length;
  if (items > itemsMax) refuse(name, `more than ${itemsMax} items`);
  if (bytesMax !== undefined && texts.some((text) => Buffer.byteLength(String(text)) > bytesMax))
    refuse(name, `a text longer than ${bytesMax} bytes`);
}

/** A conversion whose outcome is a text or texts. */
function limited<T>(convert: Convert<T>, options: FieldOptions): Convert<T> {
  return (value, name) => {
    const converted = convert(value, name);
    assertWithin(converted, name, options);
    return converted;
  };
}

type Convert<T> = (value: JsonValue, name: string) => T;

function make<T>(
  type: Field<T>["type"],
  convert: Convert<T>,
  description: string,
  options: FieldOptions & { format?: string },
): Field<T> {
  const { format, deprecated = false } = options;
  return { type, description, convert, required: false, deprecated, fallback: undefined, ...(format && { format }) };
}

export const field = {
  text: (description: string, options: FieldOptions = {}) =>
    make("string", limited(textOf, options), description, options),
  lowerText: (description: string, options: FieldOptions = {}) =>
    make(
      "string",
      limited((v, n) => textOf(v, n).toLowerCase(), options),
      description,
      options,
    ),
  integer: (description: string, options: FieldOptions = {}) => make("integer", integerOf, description, options),
  flag: (description: string, options: FieldOptions = {}) => make("boolean", flagOf, description, options),
  seconds: (description: string, options: FieldOptions = {}) =>
    make("integer", secondsOf, description, { ...options, format: "seconds" }),
  list: (description: string, options: FieldOptions = {}) =>
    make("array", limited(listOf, options), description, options),
  pairs: (description: string, options: FieldOptions = {}) =>
    make("object", limited(pairsOf, options), description, options),
  object: (description: string, options: FieldOptions = {}) => make("object", objectOf, description, options),
  json: (description: string, options: FieldOptions = {}) => make<JsonValue>("any", (v) => v, description, options),
};

/** The same field with a value for when the client sends none. */
export function withDefault<T extends JsonValue>(inner: Field<T>, fallback: T): Field<T> & { readonly fallback: T } {
  return { ...inner, fallback, default: fallback };
}

export type Fields = Readonly<Record<string, Field<unknown>>>;
type ValueOf<F> = F extends { readonly fallback: infer D; convert(value: JsonValue, name: string): infer T }
  ? undefined extends D
    ? T | undefined
    : T
  : never;
/** What a handler gets: the converted value of each field, undefined where the client sent none. */
export type Values<F extends Fields> = { readonly [K in keyof F]: ValueOf<F[K]> };

/** Converts the client's data. `null` counts as not sent, as Vault has it. */
export function convertFields<F extends Fields>(fields: F, data: JsonObject): Values<F> {
  const values: Record<string, unknown> = {};
  for (const [name, definition] of Object.entries(fields)) {
    const sent = data[name];
    values[name] = sent === undefined || sent === null ? definition.fallback : definition.convert(sent, name);
  }
  return values as Values<F>; // each member was made by its own field's convert
}
