// Shapes of JSON that is read back: stored records, configuration, answers of servers. One definition gives the check
// and the TypeScript type. Strict on types, silent on unknown members (older readers meet newer writers).
import { CofferError } from "./errors.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

/** Checks a JSON value and gives it its type, or throws `invalid_request` naming the member by its path. */
export interface Schema<T> {
  parse(value: JsonValue | undefined, path?: string): T;
}
export type Infer<S> = S extends Schema<infer T> ? T : never;

function mismatch(path: string, wanted: string): CofferError {
  return new CofferError("invalid_request", `${path || "the value"} must be ${wanted}`);
}

const scalar = <T>(wanted: string, test: (value: JsonValue | undefined) => value is T & JsonValue): Schema<T> => ({
  parse(value, path = "") {
    if (test(value)) return value;
    throw mismatch(path, wanted);
  },
});

export const string = scalar<string>("a string", (v): v is string => typeof v === "string");
export const number = scalar<number>("a number", (v): v is number => typeof v === "number");
export const boolean = scalar<boolean>("true or false", (v): v is boolean => typeof v === "boolean");
/** Any JSON at all; an absent member is null. */
export const json: Schema<JsonValue> = { parse: (value) => value ?? null };
export const jsonObject = scalar<JsonObject>("an object", isJsonObject);

/** One of the given words. */
export function oneOf<const W extends readonly string[]>(...words: W): Schema<W[number]> {
  return scalar<W[number]>(`one of ${words.join(", ")}`, (v): v is W[number] => words.some((w) => w === v));
}

export function list<T>(item: Schema<T>): Schema<readonly T[]> {
  return {
    parse(value, path = "") {
      if (!isJsonArray(value)) throw mismatch(path, "a list");
      return value.map((v, i) => item.parse(v, `${path}[${i}]`));
    },
  };
}

/** An object whose member names are data. */
export function map<T>(item: Schema<T>): Schema<Readonly<Record<string, T>>> {
  return {
    parse(value, path = "") {
      if (!isJsonObject(value)) throw mismatch(path, "an object");
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, item.parse(v, join(path, k))]));
    },
  };
}

/** May be absent or null; then `undefined`. */
export function optional<T>(inner: Schema<T>): Schema<T | undefined> {
  return { parse: (value, path) => (value === undefined || value === null ? undefined : inner.parse(value, path)) };
}

/** May be absent or null; then the given value. */
export function withDefault<T>(inner: Schema<T>, fallback: T): Schema<T> {
  return { parse: (value, path) => (value === undefined || value === null ? fallback : inner.parse(value, path)) };
}

export type Members = Readonly<Record<string, Schema<unknown>>>;
type OptionalKeys<M extends Members> = { [K in keyof M]: undefined extends Infer<M[K]> ? K : never }[keyof M];
export type ObjectOf<M extends Members> = {
  readonly [K in Exclude<keyof M, OptionalKeys<M>>]: Infer<M[K]>;
} & { readonly [K in OptionalKeys<M>]?: Infer<M[K]> | undefined };

/** An object with known members; members whose schema is optional may be missing. */
export function object<const M extends Members>(members: M): Schema<ObjectOf<M>> {
  const entries = Object.entries(members);
  return {
    parse(value, path = "") {
      if (!isJsonObject(value)) throw mismatch(path, "an object");
      const out: Record<string, unknown> = {};
      for (const [name, schema] of entries) {
        const member = schema.parse(value[name], join(path, name));
        if (member !== undefined) out[name] = member;
      }
      return out as ObjectOf<M>;
    },
  };
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
