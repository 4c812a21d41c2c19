// Compares an answer with what was recorded. Knows the placeholders of the recordings and which differences a client
// would notice (hard) and which only a reader (soft: the wording of errors and warnings).
import { isJsonArray, isJsonObject, type JsonArray, type JsonValue } from "#common/json.ts";

export interface Differences {
  readonly hard: string[];
  readonly soft: string[];
}

type Test = (value: JsonValue | undefined) => boolean;

const isText = (value: JsonValue | undefined): value is string => typeof value === "string";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Stand in a recording for whatever was different each time. */
const PLACEHOLDERS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["<any>", () => true],
  ["<string>", isText],
  ["<nonempty>", (value) => isText(value) && value !== ""],
  ["<number>", (value) => typeof value === "number"],
  ["<bool>", (value) => typeof value === "boolean"],
  ["<array>", (value) => isJsonArray(value)],
  ["<object>", isJsonObject],
  ["<uuid>", (value) => isText(value) && UUID.test(value)],
  ["<time>", (value) => isText(value) && !Number.isNaN(Date.parse(value))],
  ["<pem>", (value) => isText(value) && value.startsWith("-----BEGIN ")],
  ["<ciphertext>", (value) => isText(value) && /^vault:v\d+:/.test(value)],
]);

/** Adds to `found` how `got` differs from `want`; `path` names the place in messages. */
export function compare(want: JsonValue, got: JsonValue | undefined, path: string, found: Differences): void {
  const differs = (kind: string[]) => kind.push(`${path}: want ${shorten(want)}, got ${shorten(got)}`);
  const placeholder = isText(want) ? PLACEHOLDERS.get(want) : undefined;
  if (placeholder !== undefined) {
    if (!placeholder(got)) differs(found.hard);
  } else if (isWording(path) && isText(want) && isText(got)) {
    if (wordsOf(want) !== wordsOf(got)) differs(found.soft);
  } else if (path.endsWith(".warnings")) {
    if (JSON.stringify(want) !== JSON.stringify(got)) differs(found.soft);
  } else if (isJsonArray(want)) {
    if (!isJsonArray(got)) differs(found.hard);
    else if (want.length !== got.length) differs(path.endsWith("errors") && got.length > 0 ? found.soft : found.hard);
    else compareItems(want, got, path, found);
  } else if (isJsonObject(want)) {
    if (!isJsonObject(got)) return void differs(found.hard);
    for (const [name, member] of Object.entries(want)) {
      if (Object.hasOwn(got, name)) compare(member, got[name], `${path}.${name}`, found);
      else found.hard.push(`${path}.${name}: missing`);
    }
  } else if (want !== got) differs(found.hard);
}

function compareItems(want: JsonArray, got: JsonArray, path: string, found: Differences): void {
  for (const [i, item] of want.entries()) compare(item, got[i], `${path}.${i}`, found);
}

function isWording(path: string): boolean {
  return /(^|\.)(errors|warnings)(\.|$)/.test(path);
}

/** Wording without the frame that servers put around several errors. */
function wordsOf(text: string): string {
  return text
    .replace(/^\d+ errors? occurred:\s*/i, "")
    .replace(/\s*\*\s*/g, " ")
    .trim()
    .toLowerCase();
}

const SHOWN_MAX = 140;

/** A value as text for a message. */
export function shorten(value: JsonValue | undefined): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
}
