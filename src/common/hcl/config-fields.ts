// Kinds of settings in a configuration file: how each is spelled, checked and documented. Reads values with their
// positions, so that every error says the line. Which settings there are is said where they belong to.
import { parseDurationSeconds } from "../duration.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../json.ts";
import { didYouMean } from "./near-miss.ts";
import { type HclObject, type HclValue, hclError, keyOf, toJson } from "./syntax-tree.ts";

/** One setting. */
export interface ConfigField<T> {
  readonly doc: string;
  /** For the reference: "text", "duration", … */
  readonly kind: string;
  /** What counts when the setting is absent. */
  readonly fallback: T;
  /** Accepted for the sake of existing files, without effect: a sentence that says why. */
  readonly ignored?: string;
  /** Throws `invalid_request` with the position and the setting's name. */
  parse(value: HclValue, name: string): T;
}
export type ConfigFields = Readonly<Record<string, ConfigField<unknown>>>;
export type ConfigValues<F extends ConfigFields> = {
  readonly [K in keyof F]: F[K] extends ConfigField<infer T> ? T : never;
};

function field<T>(kind: string, doc: string, fallback: T, read: (value: HclValue) => T | undefined): ConfigField<T> {
  return {
    kind,
    doc,
    fallback,
    parse(value, name) {
      const result = read(value);
      if (result === undefined) throw hclError(value.position, `${name} must be ${kind}`);
      return result;
    },
  };
}

export function text(doc: string): ConfigField<string | undefined>;
export function text(doc: string, fallback: string): ConfigField<string>;
export function text(doc: string, fallback?: string): ConfigField<string | undefined> {
  return field("a text", doc, fallback, (value) => (value.kind === "string" ? value.value : undefined));
}

const FLAG_WORDS: ReadonlyMap<string, boolean> = new Map([
  ["true", true],
  ["1", true],
  ["false", false],
  ["0", false],
]);

/** true, false, and what other files have in their place: 1, 0 and all of these as texts. */
export function flag(doc: string, fallback: boolean): ConfigField<boolean> {
  return field("true or false", doc, fallback, (value) => FLAG_WORDS.get(scalarText(value)?.toLowerCase() ?? ""));
}

/** A whole number within limits. Without a fallback: what counts is decided elsewhere. */
export function integer(doc: string, fallback: number, limits: { min: number; max: number }): ConfigField<number>;
export function integer(
  doc: string,
  fallback: undefined,
  limits: { min: number; max: number },
): ConfigField<number | undefined>;
export function integer(doc: string, fallback: number | undefined, limits: { min: number; max: number }) {
  return field(`a whole number from ${limits.min} to ${limits.max}`, doc, fallback, (value) => {
    const digits = scalarText(value) ?? "";
    const number = Number(digits);
    return /^-?\d+$/.test(digits) && number >= limits.min && number <= limits.max ? number : undefined;
  });
}

/** Seconds, from "90s", "1h30m", "90" or 90. Negative ones are refused. */
export function duration(doc: string, fallback: number): ConfigField<number> {
  return field('a duration such as "90s" or "768h"', doc, fallback, (value) => {
    const seconds = parseDurationSeconds(scalarText(value) ?? "none");
    return seconds !== undefined && seconds >= 0 ? seconds : undefined;
  });
}

export function word<const W extends string>(doc: string, fallback: W, words: readonly W[]): ConfigField<W> {
  return field(`one of ${words.join(", ")}`, doc, fallback, (value) =>
    words.find((known) => known === scalarText(value)?.toLowerCase()),
  );
}

/** Texts: a list, or one text with commas. */
export function texts(doc: string): ConfigField<readonly string[]> {
  return field<readonly string[]>("a list of texts", doc, [], (value) => {
    if (value.kind === "string")
      return value.value
        .split(",")
        .map((each) => each.trim())
        .filter((each) => each !== "");
    if (value.kind !== "list") return undefined;
    const all = value.values.map((each) => (each.kind === "string" ? each.value : undefined));
    return all.every((each) => each !== undefined) ? all : undefined;
  });
}

/** Text by name; numbers and booleans become text. */
export function textMap(doc: string): ConfigField<Readonly<Record<string, string>>> {
  return field<Readonly<Record<string, string>>>("a map of texts", doc, {}, (value) => {
    if (value.kind !== "object") return undefined;
    const entries = value.items.map((item) => [keyOf(item).text, scalarText(item.value)] as const);
    const complete = entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined);
    return complete.length === entries.length ? Object.fromEntries(complete) : undefined;
  });
}

export function data(doc: string): ConfigField<JsonObject | undefined> {
  return field<JsonObject | undefined>("an object", doc, undefined, (value) => {
    const json: JsonValue = toJson(value);
    return isJsonObject(json) ? json : undefined;
  });
}

/** Known from other servers' files, of any shape, and without effect here. */
export function ignored(why: string): ConfigField<undefined> {
  return { kind: "anything", doc: why, fallback: undefined, ignored: why, parse: () => undefined };
}

function scalarText(value: HclValue): string | undefined {
  if (value.kind === "string") return value.value;
  return value.kind === "number" || value.kind === "boolean" ? String(value.value) : undefined;
}

/**
 * Reads the settings of a block. `where` names the block in errors ("listener \"tcp\""), `alsoKnown` are members that
 * the caller reads itself. Adds a sentence to `warnings` for every ignored setting.
 */
export function readFields<F extends ConfigFields>(
  body: HclObject,
  fields: F,
  context: { where: string; alsoKnown?: readonly string[]; warnings: string[] },
): ConfigValues<F> {
  const known = [...Object.keys(fields), ...(context.alsoKnown ?? [])];
  const values = new Map<string, unknown>();
  for (const item of body.items) {
    const { text: name, position } = keyOf(item);
    if (!known.includes(name))
      throw hclError(position, `${context.where} has no setting ${JSON.stringify(name)}${didYouMean(name, known)}`);
    const described = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (!described || item.value.kind === "null") continue;
    if (described.ignored !== undefined) {
      const file = position.file === undefined ? "" : `${position.file} `;
      context.warnings.push(`${file}line ${position.line}: ${name} has no effect: ${described.ignored}`);
      continue;
    }
    if (values.has(name)) throw hclError(position, `${context.where} has ${name} twice; leave one out`);
    values.set(name, described.parse(item.value, name));
  }
  const all = Object.entries(fields).map(([name, each]) => [name, values.has(name) ? values.get(name) : each.fallback]);
  return Object.fromEntries(all) as ConfigValues<F>; // every member comes from its own field's parse or fallback
}
