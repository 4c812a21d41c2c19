// The values that templates work on, told apart as Go tells them apart: an int is a bigint, a float64 a number, and a
// number out of a server's JSON keeps its digits (Go's json.Number). nil and what a map does not have are null.
import { isJsonArray, isJsonObject, isNumberLiteral, type JsonValue } from "#common/json.ts";
import { bytesOfText } from "./byte-text.ts";

/** A number as the server spelled it. To Go it is a kind of string. */
export class JsonNumber {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** A value with known members, such as a secret: no other member can be asked for. */
export class Struct {
  readonly type: string;
  readonly fields: ReadonlyMap<string, Value>;
  /** Members that are called, with or without arguments. */
  readonly methods: ReadonlyMap<string, Method>;
  constructor(type: string, fields: Readonly<Record<string, Value>>, methods: Readonly<Record<string, Method>> = {}) {
    this.type = type;
    this.fields = new Map(Object.entries(fields));
    this.methods = new Map(Object.entries(methods));
  }
}

export type Method = (...args: readonly Value[]) => Value;
export type ValueMap = ReadonlyMap<string, Value>;
export type Value = null | boolean | string | bigint | number | JsonNumber | Struct | readonly Value[] | ValueMap;

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

export function isMap(value: Value): value is ValueMap {
  return value instanceof Map;
}

/** What `if` and `with` go by: zero, nothing and what is empty are false. */
export function isTrue(value: Value): boolean {
  if (value === null || value === false || value === "" || value === 0n || value === 0) return false;
  if (value instanceof JsonNumber) return value.text !== "";
  if (isList(value)) return value.length > 0;
  return isMap(value) ? value.size > 0 : true;
}

/** Go's name of a value's type. */
export function typeOf(value: Value): string {
  if (value === null) return "<nil>";
  if (value instanceof JsonNumber) return "json.Number";
  if (value instanceof Struct) return value.type;
  if (isList(value)) return "[]interface {}";
  if (isMap(value)) return "map[string]interface {}";
  if (typeof value === "bigint") return "int";
  if (typeof value === "number") return "float64";
  return typeof value === "boolean" ? "bool" : "string";
}

/** A value's kind in words, for messages. */
export function kindOf(value: Value): string {
  if (value === null) return "nothing";
  if (value instanceof JsonNumber || typeof value === "bigint" || typeof value === "number") return "a number";
  if (value instanceof Struct) return "a structure";
  if (isList(value)) return "a list";
  if (isMap(value)) return "a map";
  return typeof value === "boolean" ? "a boolean" : "a text";
}

/** How a JSON document's numbers are taken: as the server's (json.Number), or as Go's json.Unmarshal takes them. */
export type NumberReader = (digits: string) => Value;
export const keepDigits: NumberReader = (digits) => new JsonNumber(digits);
export const toFloat: NumberReader = (digits) => Number(digits);

export function fromJson(value: JsonValue, number: NumberReader): Value {
  if (isNumberLiteral(value)) return number(value.rawJSON);
  if (typeof value === "number") return number(String(value));
  if (isJsonArray(value)) return value.map((item) => fromJson(item, number));
  if (!isJsonObject(value)) return value;
  return new Map(Object.entries(value).map(([key, member]) => [key, fromJson(member, number)]));
}

/** Go orders strings by their bytes. */
export function compareTexts(a: string, b: string): number {
  return Buffer.compare(bytesOfText(a), bytesOfText(b));
}

/** A map's entries in the order in which Go's templates walk them. */
export function sortedEntries(map: ValueMap): readonly (readonly [string, Value])[] {
  return [...map].sort(([a], [b]) => compareTexts(a, b));
}
