// JSON Patch (RFC 6902) with JSON Pointers (RFC 6901), applied to a container that the injector has made. Pure: what is
// given stays as it is. Every failure names the operation by its number.
import { CofferError } from "#common/errors.ts";
import { encodeSorted, isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { json, object, oneOf, optional, string } from "#common/schema.ts";

const operation = object({
  op: oneOf("add", "remove", "replace", "move", "copy", "test"),
  path: string,
  from: optional(string),
  value: json,
});

/** A container has a few dozen members. */
export const OPERATIONS_MAX = 100;

/** Operations, and where they come from, for messages. */
export interface NamedPatch {
  readonly title: string;
  readonly operations: readonly JsonObject[];
}

/** The container after all operations. Throws `invalid_request` when one does not apply. */
export function applyJsonPatch(target: JsonObject, { title, operations }: NamedPatch): JsonObject {
  if (operations.length > OPERATIONS_MAX) throw wrong(`${title}: has more than ${OPERATIONS_MAX} operations`);
  const patched = operations.reduce<JsonValue>((document, given, index) => {
    try {
      return applyOne(document, given);
    } catch (error) {
      if (error instanceof CofferError) throw wrong(`${title}: operation ${index}: ${error.message}`);
      throw error;
    }
  }, target);
  if (isJsonObject(patched) && patched["name"] === target["name"]) return patched;
  throw wrong(`${title}: must leave an object with the same name`);
}

function applyOne(document: JsonValue, given: JsonObject): JsonValue {
  const { op, path, from, value } = operation.parse(given);
  const steps = stepsOf(path);
  switch (op) {
    case "add":
      return put(document, steps, value, false);
    case "replace":
      return put(document, steps, value, true);
    case "remove":
      return take(document, steps);
    case "test":
      if (encodeSorted(find(document, steps)) === encodeSorted(value)) return document;
      throw wrong(`${path} is not the value of the test`);
    case "copy":
    case "move": {
      const source = stepsOf(from ?? "");
      const moved = find(document, source);
      return put(op === "move" ? take(document, source) : document, steps, moved, false);
    }
  }
}

function stepsOf(pointer: string): readonly string[] {
  if (!pointer.startsWith("/")) throw wrong(`"${pointer}" must begin with "/"`);
  return pointer
    .slice(1)
    .split("/")
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function find(document: JsonValue, steps: readonly string[]): JsonValue {
  return steps.reduce<JsonValue>((inner, step) => {
    const value = isJsonArray(inner) ? inner[indexOf(step, inner.length - 1)] : member(inner, step);
    if (value === undefined) throw absent(step);
    return value;
  }, document);
}

function put(document: JsonValue, [step, ...below]: readonly string[], value: JsonValue, isThere: boolean): JsonValue {
  if (step === undefined) return value;
  if (isJsonArray(document)) {
    const isLast = below.length === 0;
    const most = isLast && !isThere ? document.length : document.length - 1;
    const index = step === "-" && isLast && !isThere ? document.length : indexOf(step, most);
    if (isLast && !isThere) return document.toSpliced(index, 0, value);
    return document.with(index, put(document[index] ?? null, below, value, isThere));
  }
  const inner = member(document, step);
  if (inner === undefined && (below.length > 0 || isThere)) throw absent(step);
  return { ...objectOf(document, step), [step]: put(inner ?? null, below, value, isThere) };
}

function take(document: JsonValue, [step = "", ...below]: readonly string[]): JsonValue {
  if (isJsonArray(document)) {
    const index = indexOf(step, document.length - 1);
    return below.length === 0
      ? document.toSpliced(index, 1)
      : document.with(index, take(document[index] ?? null, below));
  }
  const inner = member(document, step);
  if (inner === undefined) throw absent(step);
  const { [step]: _gone, ...rest } = objectOf(document, step);
  return below.length === 0 ? rest : { ...rest, [step]: take(inner, below) };
}

function objectOf(value: JsonValue, step: string): JsonObject {
  if (isJsonObject(value)) return value;
  throw absent(step);
}

function member(value: JsonValue, step: string): JsonValue | undefined {
  return isJsonObject(value) && Object.hasOwn(value, step) ? value[step] : undefined;
}

function indexOf(step: string, most: number): number {
  const index = /^(0|[1-9][0-9]{0,5})$/.test(step) ? Number(step) : Number.NaN;
  if (index <= most) return index;
  throw absent(step);
}

function absent(step: string): CofferError {
  return wrong(`there is no "${step}" at its place`);
}

function wrong(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
