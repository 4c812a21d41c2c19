// consul-template's functions on texts and lists. The argument that is worked on comes last, for use behind |.
import { createHash, createHmac } from "node:crypto";
import { bytesOfText } from "../byte-text.ts";
import { Fault } from "../fault.ts";
import { any, type Functions, integer, list, takes, takesMany, text } from "../function.ts";
import type { Budget } from "../limits.ts";
import { containsMatch, replaceMatches } from "../regex.ts";
import { isList, JsonNumber, type Value } from "../values.ts";

export const texts: Functions = {
  split: takes([text, text], ([separator, value]) => splitText(value.trim(), separator)),
  splitToMap: takes([text, text, text], ([outer, inner, value]) => pairsOf(splitText(value.trim(), outer), inner)),
  join: takes([text, list], ([separator, items], { budget }) => joinTexts(items, separator, budget)),
  trim: takes([text, text], ([set, value]) => trimSet(value, set, true, true)),
  trimSpace: takes([text], ([value]) => value.trim()),
  trimPrefix: takes([text, text], ([prefix, value]) => withoutPrefix(value, prefix)),
  trimSuffix: takes([text, text], ([suffix, value]) => withoutSuffix(value, suffix)),
  toUpper: takes([text], ([value]) => value.toUpperCase()),
  toLower: takes([text], ([value]) => value.toLowerCase()),
  toTitle: takes([text], ([value]) => titled(value)),
  replaceAll: takes([text, text, text], ([from, to, value], { budget }) => replaceText(value, from, to, budget)),
  indent: takes([integer, text], ([spaces, value], { budget }) => indented(value, spaces, budget)),
  regexMatch: takes([text, text], ([pattern, value], { budget }) => containsMatch(pattern, value, budget)),
  regexReplaceAll: takes([text, text, text], ([pattern, to, value], { budget }) =>
    replaceMatches(pattern, to, value, budget),
  ),
  contains: takes([any, any], ([value, container]) => isIn(container, value)),
  in: takes([any, any], ([container, value]) => isIn(container, value)),
  containsAll: takes([list, any], ([values, container]) => values.every((value) => isIn(container, value))),
  containsAny: takes([list, any], ([values, container]) => values.some((value) => isIn(container, value))),
  containsNone: takes([list, any], ([values, container]) => !values.some((value) => isIn(container, value))),
  containsNotAll: takes([list, any], ([values, container]) => !values.every((value) => isIn(container, value))),
  sha256Hex: takes([text], ([value]) => digest("sha256", value)),
  md5sum: takes([text], ([value]) => digest("md5", value)),
  hmacSHA256Hex: takes([text, text], ([value, key]) =>
    createHmac("sha256", bytesOfText(key)).update(bytesOfText(value)).digest("hex"),
  ),
  executeTemplate: takesMany(1, any, ([name = null, data = null], context) => context.execute(text(name), data)),
};

export function digest(algorithm: string, value: string): string {
  return createHash(algorithm).update(bytesOfText(value)).digest("hex");
}

function splitText(value: string, separator: string): readonly string[] {
  return value === "" ? [] : separator === "" ? [...value] : value.split(separator);
}

function pairsOf(parts: readonly string[], separator: string): Value {
  const pairs = parts.flatMap((part): [string, Value][] => {
    const at = part.indexOf(separator);
    return at < 0 ? [] : [[part.slice(0, at), part.slice(at + separator.length)]];
  });
  return new Map(pairs);
}

export function joinTexts(items: readonly Value[], separator: string, budget: Budget): string {
  budget.produce(items.length * separator.length);
  return items.map(text).join(separator);
}

export function trimSet(value: string, set: string, atStart: boolean, atEnd: boolean): string {
  const characters = new Set(set);
  const all = [...value];
  let start = 0;
  let end = all.length;
  while (atStart && start < end && characters.has(all[start] ?? "")) start++;
  while (atEnd && end > start && characters.has(all[end - 1] ?? "")) end--;
  return all.slice(start, end).join("");
}

export function withoutPrefix(value: string, prefix: string): string {
  return value.startsWith(prefix) ? value.slice(prefix.length) : value;
}

export function withoutSuffix(value: string, suffix: string): string {
  return suffix !== "" && value.endsWith(suffix) ? value.slice(0, -suffix.length) : value;
}

/** The first letter of each word, the others left as they are. */
export function titled(value: string): string {
  return value.replace(/[\p{L}\p{N}'_]+/gu, (word) => {
    const [first = "", ...rest] = word;
    return first.toUpperCase() + rest.join("");
  });
}

export function replaceText(value: string, from: string, to: string, budget: Budget): string {
  const count = from === "" ? [...value].length + 1 : value.split(from).length - 1;
  budget.produce(count * to.length + value.length);
  // A function, because a text would have $& and the like replaced.
  if (from === "") return to + [...value].map((c) => c + to).join("");
  return value.replaceAll(from, () => to);
}

export function indented(value: string, spaces: number, budget: Budget): string {
  if (spaces < 0) throw new Fault("wants a number of spaces that is not negative");
  budget.produce(value.split("\n").length * spaces + value.length);
  return value.replace(/^(?=[^\n])/gm, (_match, offset: number) => {
    return offset === 0 || value[offset - 1] === "\n" ? " ".repeat(spaces) : "";
  });
}

/** Values of one kind only: a text is no number, as in consul-template. */
function isIn(container: Value, value: Value): boolean {
  if (isList(container)) return container.some((item) => isSame(item, value));
  return typeof container === "string" && typeof value === "string" && container.includes(value);
}

function isSame(a: Value, b: Value): boolean {
  if (a instanceof JsonNumber) return b instanceof JsonNumber && a.text === b.text;
  return (typeof a === "string" || typeof a === "bigint" || typeof a === "number") && a === b;
}
