// The fields that custom resources are built of: one definition gives the OpenAPI v3 schema of the CRD (the "structural"
// subset that Kubernetes accepts), the TypeScript type, and a reader that fills in the same defaults as the API server.
// Every string, list and map has a limit, which is what keeps CEL rules within the API server's cost budget.
// Format: kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions.
import { CofferError } from "#common/errors.ts";
import type { JsonObject, JsonValue } from "#common/json.ts";
import * as shape from "#common/schema.ts";

export type { Infer } from "#common/schema.ts";

/** A rule in CEL with the sentence that the user reads when it does not hold. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
}

/** A member of a resource. `required` is false when it may be left out in a manifest. */
export interface Field<T> extends shape.Schema<T> {
  readonly openapi: JsonObject;
  readonly required: boolean;
}
type Fields = Readonly<Record<string, Field<unknown>>>;

function field<T>(schema: shape.Schema<T>, openapi: JsonObject, rules: readonly Rule[] = []): Field<T> {
  const validations = rules.map(({ rule, message }) => ({ rule, message }));
  return {
    parse: schema.parse,
    required: true,
    openapi: validations.length === 0 ? openapi : { ...openapi, "x-kubernetes-validations": validations },
  };
}

/** Text of at most `max` characters. */
export function text(description: string, max: number, rules: readonly Rule[] = []): Field<string> {
  return field(shape.string, { type: "string", description, minLength: 1, maxLength: max }, rules);
}

/** Text that may be empty, for messages in status. */
export function message(description: string, max: number): Field<string> {
  return field(shape.string, { type: "string", description, maxLength: max });
}

/** A point of time as RFC 3339 writes it. */
export function time(description: string): Field<string> {
  return field(shape.string, { type: "string", format: "date-time", description, maxLength: 64 });
}

/** One of the given words. */
export function choice<const W extends readonly string[]>(description: string, words: W): Field<W[number]> {
  return field(shape.oneOf(...words), { type: "string", description, enum: words });
}

export function integer(description: string, min: number, max: number): Field<number> {
  return field(shape.number, { type: "integer", format: "int64", description, minimum: min, maximum: max });
}

export function flag(description: string): Field<boolean> {
  return field(shape.boolean, { type: "boolean", description });
}

export interface ListOptions {
  readonly min?: number;
  readonly max: number;
  /** Members that identify an item: server-side apply then merges item by item. */
  readonly keys?: readonly string[];
  /** Items are unique as a whole. */
  readonly set?: boolean;
  readonly rules?: readonly Rule[];
}

export function list<T>(description: string, item: Field<T>, options: ListOptions): Field<readonly T[]> {
  return field(
    shape.list(item),
    {
      type: "array",
      description,
      items: item.openapi,
      maxItems: options.max,
      ...(options.min === undefined ? {} : { minItems: options.min }),
      ...(options.keys ? { "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": options.keys } : {}),
      ...(options.set ? { "x-kubernetes-list-type": "set" } : {}),
    },
    options.rules,
  );
}

/** Members whose names are data. */
export function map<T>(
  description: string,
  value: Field<T>,
  max: number,
  rules: readonly Rule[] = [],
): Field<Readonly<Record<string, T>>> {
  return field(
    shape.map(value),
    { type: "object", description, additionalProperties: value.openapi, maxProperties: max },
    rules,
  );
}

/** An amount such as 100m or 64Mi; YAML may write it as a number. */
export function quantity(description: string): Field<string | number> {
  const schema: shape.Schema<string | number> = {
    parse(value, path = "") {
      if (typeof value === "string" || typeof value === "number") return value;
      throw new CofferError("invalid_request", `${path || "the value"} must be a quantity such as 100m or 64Mi`);
    },
  };
  const anyOf = [{ type: "integer" }, { type: "string" }];
  return field(schema, { description, anyOf, "x-kubernetes-int-or-string": true, maxLength: 32 });
}

export function object<const M extends Fields>(
  description: string,
  members: M,
  rules: readonly Rule[] = [],
): Field<shape.ObjectOf<M>> {
  const properties = Object.fromEntries(Object.entries(members).map(([name, member]) => [name, member.openapi]));
  const required = Object.entries(members).flatMap(([name, member]) => (member.required ? [name] : []));
  return field(
    shape.object(members),
    { type: "object", description, ...(required.length > 0 ? { required } : {}), properties },
    rules,
  );
}

/** May be left out; then there is nothing. */
export function optional<T>(inner: Field<T>): Field<T | undefined> {
  return { parse: shape.optional(inner).parse, openapi: inner.openapi, required: false };
}

/** May be left out; then the API server writes the given value. Members of that value get their own defaults. */
export function withDefault<T>(inner: Field<T>, value: JsonValue): Field<T> {
  return {
    parse: (given, path) => inner.parse(given ?? value, path),
    openapi: { ...inner.openapi, default: value },
    required: false,
  };
}
