// What a Kubernetes Secret should hold, made of the sources that were read. Pure. Messages name keys, never values.
import { compileTemplate } from "#agent/template/template.ts";
import { fromJson, keepDigits, type Value } from "#agent/template/values.ts";
import { textOf, textOfKey } from "#agent/values.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { SecretTarget } from "../../../api/secret-delivery.ts";

/** The data of the sources by their names; one that is optional and absent is not there. */
export type SourceValues = ReadonlyMap<string, JsonObject>;
type Entry = SecretTarget["data"][number];

/** What the API server allows all values of a Secret to have together. */
export const SECRET_BYTES_MAX = 1024 * 1024;
const DATA_KEY = /^(?!\.\.)[-._a-zA-Z0-9]{1,253}$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** The keys and their values. Throws `invalid_request` or `not_found` that says which key cannot be made, and why. */
export function contentOf(
  target: Pick<SecretTarget, "data">,
  values: SourceValues,
  names: readonly string[],
  now: () => number,
): ReadonlyMap<string, Buffer> {
  const data = target.data.length === 0 ? everything(values) : chosen(target.data, values, names, now);
  const bytes = [...data.values()].reduce((sum, value) => sum + value.length, 0);
  if (bytes <= SECRET_BYTES_MAX) return data;
  throw new CofferError(
    "invalid_request",
    `the values have ${bytes} bytes together, and a Kubernetes Secret holds ${SECRET_BYTES_MAX}: choose keys in secret.data`,
  );
}

function everything(values: SourceValues): ReadonlyMap<string, Buffer> {
  const data = new Map<string, Buffer>();
  const origin = new Map<string, string>();
  for (const [source, secret] of values)
    for (const key of Object.keys(secret).sort()) {
      if (!DATA_KEY.test(key) || key === ".")
        throw new CofferError(
          "invalid_request",
          `the key "${key}" of source "${source}" is no key of a Kubernetes Secret: name another one for it in secret.data`,
        );
      const other = origin.get(key);
      if (other !== undefined)
        throw new CofferError(
          "invalid_request",
          `the sources "${other}" and "${source}" both have the key "${key}": say in secret.data which is meant`,
        );
      origin.set(key, source);
      data.set(key, Buffer.from(textOf(secret[key] ?? null)));
    }
  return data;
}

function chosen(
  entries: readonly Entry[],
  values: SourceValues,
  names: readonly string[],
  now: () => number,
): ReadonlyMap<string, Buffer> {
  return new Map(
    entries.flatMap((entry): readonly [string, Buffer][] => {
      const value = valueOfEntry(entry, values, names, now);
      return value === undefined ? [] : [[entry.key, decoded(entry, value)]];
    }),
  );
}

/** Undefined when its source is optional and absent. */
function valueOfEntry(
  entry: Entry,
  values: SourceValues,
  names: readonly string[],
  now: () => number,
): Buffer | undefined {
  const [only] = names;
  const source = entry.source ?? (names.length === 1 ? only : undefined);
  const data = source === undefined ? undefined : values.get(source);
  if (entry.template !== undefined) return rendered(entry, entry.template, { source, data, values, now });
  if (source === undefined || data === undefined) return undefined;
  return Buffer.from(textOfKey(data, entry.from ?? entry.key, source));
}

interface TemplateInput {
  readonly source: string | undefined;
  readonly data: JsonObject | undefined;
  readonly values: SourceValues;
  readonly now: () => number;
}

function rendered(entry: Entry, text: string, { source, data, values, now }: TemplateInput): Buffer | undefined {
  if (source !== undefined && data === undefined) return undefined;
  const template = compileTemplate({ name: entry.key, text });
  const valueAt = (name: string): Value => {
    const found = values.get(name);
    return found === undefined ? null : fromJson(found, keepDigits);
  };
  const refuse = () => {
    throw new CofferError(
      "invalid_request",
      `the template of ${entry.key} reads a path: in a Kubernetes Secret templates use the binding's sources only`,
    );
  };
  const host = { secret: refuse, source: valueAt, environment: () => "", now };
  const all = new Map([...values.keys()].map((name) => [name, valueAt(name)]));
  const dot = data === undefined ? all : fromJson(data, keepDigits);
  return template.render({ host, data: dot, errorOnMissingKey: true });
}

function decoded({ key, decode }: Entry, value: Buffer): Buffer {
  if (decode === "None") return value;
  const text = value.toString("latin1").replace(/\s+/g, "");
  if (BASE64.test(text)) return Buffer.from(text, "base64");
  throw new CofferError("invalid_request", `the value for ${key} is not base64: correct it, or leave decode out`);
}
