// JSON that loses nothing: numbers that a double cannot hold keep their digits (9007199254740993, 1.10), and what goes
// out is spelled as clients of Vault know it: keys sorted, `<`, `>` and `&` escaped, one newline at the end.
import { CofferError } from "./errors.ts";

/** A number kept as its literal, as JSON.rawJSON makes them; JSON.stringify writes it back digit by digit. */
export interface NumberLiteral {
  readonly rawJSON: string;
}
export type JsonValue = null | boolean | number | string | NumberLiteral | JsonArray | JsonObject;
export type JsonArray = readonly JsonValue[];
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

interface JsonWithSource {
  parse(
    text: string,
    reviver: (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown;
  rawJSON(literal: string): NumberLiteral;
  isRawJSON(value: unknown): value is NumberLiteral;
}
// TypeScript's library does not describe "JSON.parse source text access" (ES2026) yet; Node 24 has it.
const json: JsonWithSource = JSON as JSON & JsonWithSource;

/** Deeper nesting than this is refused; a recursive reader of such a document would exhaust the stack. */
export const JSON_DEPTH_MAX = 500;
/** Numbers that could change when read as a double: a fraction, an exponent, or 16 digits and more. */
const DELICATE_NUMBER = /\d\.\d|\d[eE]|\d{16}|-0/;

/** An escape that may leave half a surrogate pair. What comes as bytes is decoded from UTF-8 and holds none. */
const SURROGATE_ESCAPE = /\\u[dD][89a-fA-F]/;

export function isNumberLiteral(value: unknown): value is NumberLiteral {
  return json.isRawJSON(value);
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isNumberLiteral(value);
}

export function isJsonArray(value: JsonValue | undefined): value is JsonArray {
  return Array.isArray(value);
}

/** Parses any JSON text whose strings are well-formed Unicode. Throws `invalid_request` with the reason. */
export function parseJson(text: string): JsonValue {
  assertDepth(text);
  const value = parseAny(text);
  if (SURROGATE_ESCAPE.test(text)) assertWellFormed(value);
  return value;
}

function parseAny(text: string): JsonValue {
  try {
    if (!DELICATE_NUMBER.test(text)) return JSON.parse(text) as JsonValue;
    return json.parse(text, (_key, value, { source }) => exactNumber(value, source)) as JsonValue;
  } catch (error) {
    if (error instanceof CofferError) throw error;
    throw new CofferError("invalid_request", "the text is not valid JSON", { cause: error });
  }
}

function exactNumber(value: unknown, source: string | undefined): unknown {
  if (typeof value !== "number" || source === undefined || String(value) === source) return value;
  if (!Number.isFinite(value))
    throw new CofferError("invalid_request", `the number ${source.slice(0, 40)} is out of range`);
  return json.rawJSON(source);
}

/** Half a surrogate pair has no UTF-8 form: encodeURIComponent throws on it, and what is stored or sent is not it. */
function assertWellFormed(value: JsonValue): void {
  if (typeof value === "string") {
    if (!value.isWellFormed())
      throw new CofferError("invalid_request", "the text holds half a surrogate pair; send both halves or neither");
  } else if (isJsonArray(value)) value.forEach(assertWellFormed);
  else if (isJsonObject(value)) {
    for (const [name, member] of Object.entries(value)) {
      assertWellFormed(name);
      assertWellFormed(member);
    }
  }
}

function assertDepth(text: string): void {
  if (text.length < JSON_DEPTH_MAX) return;
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (inString) {
      if (c === 0x5c) i++;
      else if (c === 0x22) inString = false;
    } else if (c === 0x22) inString = true;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > JSON_DEPTH_MAX)
        throw new CofferError("invalid_request", `JSON is nested deeper than ${JSON_DEPTH_MAX} levels`);
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
}

/** Writes a value with sorted keys, without HTML escapes and newline: for records and for comparing. */
export function encodeSorted(value: JsonValue): string {
  // What is stored was sorted when it was written, and the engine's own writer makes no garbage: half the time.
  return isSorted(value) ? JSON.stringify(value) : encodeMembers(value);
}

/** Whether the keys of all objects in it stand in the order in which they are to be written. */
function isSorted(value: JsonValue): boolean {
  if (typeof value !== "object" || value === null || isNumberLiteral(value)) return true;
  if (isJsonArray(value)) return value.every(isSorted);
  let previous: string | undefined;
  for (const key of Object.keys(value)) {
    if (previous !== undefined && previous > key) return false;
    const member = value[key];
    if (member !== undefined && !isSorted(member)) return false;
    previous = key;
  }
  return true;
}

function encodeMembers(value: JsonValue): string {
  if (typeof value !== "object" || value === null || isNumberLiteral(value)) return JSON.stringify(value);
  if (isJsonArray(value)) return `[${value.map(encodeSorted).join(",")}]`;
  const parts: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member !== undefined) parts.push(`${JSON.stringify(key)}:${encodeSorted(member)}`);
  }
  return `{${parts.join(",")}}`;
}

const HTML: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

/** Makes finished JSON text safe inside HTML: these characters can stand only within its strings. */
export function escapeForHtml(text: string): string {
  return /[<>&\u2028\u2029]/.test(text) ? text.replace(/[<>&\u2028\u2029]/g, (c) => HTML[c] ?? c) : text;
}
