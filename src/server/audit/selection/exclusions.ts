// What a device leaves out of its entries: a JSON list of { condition?, fields }, fields as JSON pointers (RFC 6901).
//
//   [{ "condition": "mount_type == transit", "fields": ["/request/data/plaintext", "/response/data"] }]
import { CofferError } from "#common/errors.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { list, object, optional, string } from "#common/schema.ts";
import { type Expression, type Lookup, parseExpression } from "./expression.ts";

export interface Exclusion {
  readonly condition: Expression | undefined;
  /** Unescaped steps of each pointer. */
  readonly fields: readonly (readonly string[])[];
}

/** Each is looked at for every entry. */
export const EXCLUSIONS_MAX = 32;
export const EXCLUDED_FIELDS_MAX = 64;
/** What an entry is no entry without: when, what kind, and which request. */
const KEPT = ["", "/time", "/type", "/request", "/request/id"];

const schema = list(object({ condition: optional(string), fields: list(string) }));

/** Throws `invalid_request` naming the member. */
export function parseExclusions(text: string): readonly Exclusion[] {
  const parsed = schema.parse(parseJson(text), "exclude");
  if (parsed.length > EXCLUSIONS_MAX)
    throw new CofferError("invalid_request", `exclude holds more than ${EXCLUSIONS_MAX} exclusions`);
  return parsed.map(({ condition, fields }, i) => {
    if (fields.length === 0 || fields.length > EXCLUDED_FIELDS_MAX)
      throw new CofferError("invalid_request", `exclude[${i}].fields must hold 1 to ${EXCLUDED_FIELDS_MAX} fields`);
    return {
      condition: condition === undefined ? undefined : parseExpression(condition, { pointers: true }),
      fields: fields.map((pointer) => parsePointer(pointer, `exclude[${i}].fields`)),
    };
  });
}

function parsePointer(pointer: string, where: string): readonly string[] {
  if (KEPT.includes(pointer))
    throw new CofferError("invalid_request", `${where}: ${JSON.stringify(pointer)} cannot be left out`);
  if (!pointer.startsWith("/"))
    throw new CofferError("invalid_request", `${where}: ${JSON.stringify(pointer)} must begin with "/"`);
  return stepsOf(pointer);
}

function stepsOf(pointer: string): readonly string[] {
  return pointer
    .slice(1)
    .split("/")
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** The entry without what the exclusions leave out. All conditions see the whole entry. */
export function applyExclusions(exclusions: readonly Exclusion[], entry: JsonObject, names: Lookup): JsonObject {
  const lookup: Lookup = (selector) => (selector.startsWith("/") ? textAt(entry, stepsOf(selector)) : names(selector));
  return exclusions
    .filter(({ condition }) => !condition || condition(lookup))
    .flatMap(({ fields }) => fields)
    .reduce(without, entry);
}

function textAt(value: JsonValue | undefined, steps: readonly string[]): string | undefined {
  const found = steps.reduce<JsonValue | undefined>((at, step) => (isJsonObject(at) ? at[step] : undefined), value);
  if (typeof found === "string") return found;
  return typeof found === "number" || typeof found === "boolean" ? String(found) : undefined;
}

function without(entry: JsonObject, steps: readonly string[]): JsonObject {
  const [step, ...rest] = steps;
  if (step === undefined || !Object.hasOwn(entry, step)) return entry;
  if (rest.length === 0) return Object.fromEntries(Object.entries(entry).filter(([key]) => key !== step));
  const below = entry[step];
  if (isJsonObject(below)) return { ...entry, [step]: without(below, rest) };
  if (isJsonArray(below)) return { ...entry, [step]: withoutItem(below, rest) };
  return entry;
}

function withoutItem(items: readonly JsonValue[], [step, ...rest]: readonly string[]): readonly JsonValue[] {
  if (rest.length === 0) return items.filter((_, i) => String(i) !== step);
  return items.map((item, i) => (String(i) === step && isJsonObject(item) ? without(item, rest) : item));
}
