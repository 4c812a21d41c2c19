// Which parameters a rule lets through: required, denied, allowed, in that order; denied wins over allowed. Names
// compare without case; texts in a rule may begin or end with "*". Only the top level of a request's data is seen.
import { encodeSorted, isNumberLiteral, type JsonObject, type JsonValue } from "#common/json.ts";
import type { ParameterRules } from "./parsed-policy.ts";

/** Lower-case name -> values; an empty list means any value. A map: names come from clients. */
export type ParameterMap = ReadonlyMap<string, readonly JsonValue[]>;

export function parameterMap(rules: ParameterRules): ParameterMap {
  return new Map(Object.entries(rules));
}

/** Both rules' names; values of the same name together, where "any value" stays "any value". */
export function mergeParameters(a: ParameterMap, b: ParameterMap): ParameterMap {
  if (b.size === 0) return a;
  const merged = new Map(a);
  for (const [name, values] of b) {
    const before = merged.get(name);
    merged.set(
      name,
      before === undefined ? values : before.length === 0 || values.length === 0 ? [] : [...before, ...values],
    );
  }
  return merged;
}

export interface ParameterLimits {
  readonly required: readonly string[];
  readonly denied: ParameterMap;
  readonly allowed: ParameterMap;
}

/** True when the data of a request keeps to the limits. */
export function parametersFit(limits: ParameterLimits, data: JsonObject): boolean {
  const given = Object.entries(data).map(([name, value]) => [name.toLowerCase(), value] as const);
  if (!limits.required.every((name) => given.some(([key]) => key === name))) return false;
  if (given.length === 0) return true;
  if (limits.denied.has("*")) return false;
  if (given.some(([name, value]) => isNamed(limits.denied, name, value))) return false;
  if (limits.allowed.size === 0) return true;
  const rest = limits.allowed.has("*");
  return given.every(([name, value]) => (limits.allowed.has(name) ? isNamed(limits.allowed, name, value) : rest));
}

function isNamed(rules: ParameterMap, name: string, value: JsonValue): boolean {
  const values = rules.get(name);
  if (values === undefined) return false;
  return values.length === 0 || values.some((wanted) => sameValue(wanted, value));
}

/** Scalars compare by their text, since fields are converted: 10 and "10" are the same to whoever handles them. */
function sameValue(wanted: JsonValue, value: JsonValue): boolean {
  const text = scalarText(value);
  const pattern = scalarText(wanted);
  if (text === undefined || pattern === undefined) return encodeSorted(wanted) === encodeSorted(value);
  return matchesGlob(pattern, text);
}

function scalarText(value: JsonValue): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return isNumberLiteral(value) ? value.rawJSON : undefined;
}

/** "*" at either end stands for anything; "*" alone is itself, as clients know it. */
function matchesGlob(pattern: string, text: string): boolean {
  if (pattern.length < 2) return pattern === text;
  const open = pattern.startsWith("*");
  const end = pattern.endsWith("*");
  if (open && end) return text.includes(pattern.slice(1, -1));
  if (open) return text.endsWith(pattern.slice(1));
  return end ? text.startsWith(pattern.slice(0, -1)) : text === pattern;
}
