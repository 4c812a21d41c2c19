// How the values of vault-k8s' annotations are written, and how they are read. Every type says what it expects, for the
// sentence that refuses a pod and for the reference page. Pure.
import type { Seconds } from "#common/clock.ts";
import { isJsonArray, type JsonObject, parseJson } from "#common/json.ts";
import { jsonObject, list } from "#common/schema.ts";

export interface ValueType<T> {
  /** For the reference page: "true or false". */
  readonly name: string;
  /** What to write, to follow "write": "true or false". */
  readonly wanted: string;
  /** Undefined when the text is none of these. */
  parse(text: string): T | undefined;
}

/** Annotations of a pod hold 256 KiB together (Kubernetes); one name or path in them is far shorter. */
const TEXT_CHARACTERS_MAX = 1024;
/** The largest user or group that Linux has besides -1. */
const ID_MAX = 2 ** 32 - 2;
/** Whoever waits longer means something else. */
const SECONDS_MAX: Seconds = 86_400 * 366;
const TRUE = ["1", "t", "T", "true", "TRUE", "True"];
const FALSE = ["0", "f", "F", "false", "FALSE", "False"];
const QUANTITY = /^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/;
const DURATION = /^([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h))+$/;
const DURATION_PART = /([0-9.]+)(ms|s|m|h)/g;
const UNIT_SECONDS: Readonly<Record<string, Seconds>> = { ms: 0.001, s: 1, m: 60, h: 3600 };

function type<T>(name: string, parse: (text: string) => T | undefined, wanted = name): ValueType<T> {
  return { name, wanted, parse };
}

function matching(name: string, pattern: RegExp, wanted = name): ValueType<string> {
  return type(name, (text) => (text.length <= TEXT_CHARACTERS_MAX && pattern.test(text) ? text : undefined), wanted);
}

/** As Go's strconv.ParseBool reads it. */
export const flag: ValueType<boolean> = type(
  "boolean",
  (text) => (TRUE.includes(text) ? true : FALSE.includes(text) ? false : undefined),
  "true or false",
);
export const text = matching("text", /^[^\0\r\n]+$/, `one line of at most ${TEXT_CHARACTERS_MAX} characters`);
/** Templates, which have lines and are bounded by the annotations' own limit. */
export const longText: ValueType<string> = type("text", (value) => value);
export const absolutePath = matching(
  "absolute path",
  /^(?!.*(^|\/)\.\.(\/|$))\/[^\0:\r\n]*$/,
  'an absolute path without ".." and ":"',
);
export const relativePath = matching(
  "path",
  /^(?!\/)(?!.*(^|\/)\.\.?(\/|$))(?!.*\/\/)[^\0\r\n]*[^/\0\r\n]$/,
  'a path below the directory of the secrets, without ".."',
);
export const url = matching(
  "URL",
  /^https?:\/\/[^\s/?#@]+(\/[^\s?#]*)?$/,
  "an address such as https://vault.vault.svc:8200",
);
export const objectName = matching(
  "name",
  /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/,
  "the name of an object in the pod's namespace",
);
export const quantity = matching("quantity", QUANTITY, "a quantity such as 250m or 64Mi");
export const fileMode = matching("octal mode", /^0?[0-7]{3}$/, "an octal mode in quotes, such as 0440");
export const names: ValueType<readonly string[]> = type(
  "names, separated by commas",
  (value) => {
    const found = value.split(",").map((name) => name.trim());
    return value.length <= TEXT_CHARACTERS_MAX && found.every((name) => /^[a-zA-Z0-9._-]+$/.test(name))
      ? found
      : undefined;
  },
  "names separated by commas",
);
export const userId = wholeNumber("user or group id", 0, ID_MAX);
export const port = wholeNumber("port", 1, 65_535);

/** "60s", "1m30s", or a plain number of seconds. Gives seconds. */
export const duration: ValueType<Seconds> = type(
  "duration",
  (value) => {
    if (/^[0-9]{1,9}$/.test(value)) return inRange(Number(value), 0, SECONDS_MAX);
    if (!DURATION.test(value)) return undefined;
    const parts = [...value.matchAll(DURATION_PART)];
    const total = parts.reduce((sum, [, n = "0", unit = "s"]) => sum + Number(n) * (UNIT_SECONDS[unit] ?? 0), 0);
    return inRange(total, 0, SECONDS_MAX);
  },
  "a duration such as 60s or 5m",
);

/** Between 0 and 1, neither included. */
export const fraction: ValueType<number> = type(
  "fraction",
  (value) => (/^0?\.[0-9]{1,9}$/.test(value) && Number(value) > 0 ? Number(value) : undefined),
  "a fraction between 0 and 1, such as 0.9",
);

/** Operations of RFC 6902. */
export const jsonPatch: ValueType<readonly JsonObject[]> = type(
  "JSON Patch",
  (value) => {
    try {
      const operations = parseJson(value);
      return isJsonArray(operations) ? list(jsonObject).parse(operations) : undefined;
    } catch {
      return undefined;
    }
  },
  'operations of RFC 6902, such as [{"op": "replace", "path": "/image", "value": "coffer:2"}]',
);

export function wholeNumber(name: string, min: number, max: number): ValueType<number> {
  return type(
    name,
    (value) => (/^[0-9]{1,15}$/.test(value) ? inRange(Number(value), min, max) : undefined),
    `a whole number from ${min} to ${max}`,
  );
}

export function word<const W extends readonly string[]>(...words: W): ValueType<W[number]> {
  const wanted = words.join(" or ");
  return type(words.map((w) => `\`${w}\``).join(", "), (value) => words.find((w) => w === value), wanted);
}

function inRange(value: number, min: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined;
}
