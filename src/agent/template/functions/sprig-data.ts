// The functions of Sprig on lists, maps, numbers and defaults that manifests use (masterminds.github.io/sprig). Maps are
// never changed, so `set` and `unset` are not here; where Sprig's order of keys is by chance, it is the keys' own here.
import { Fault } from "../fault.ts";
import { any, type Functions, integer, list, map, takes, takesMany, text } from "../function.ts";
import { textOfValue } from "../printing.ts";
import {
  compareTexts,
  isList,
  isMap,
  isTrue,
  JsonNumber,
  kindOf,
  sortedEntries,
  typeOf,
  type Value,
} from "../values.ts";
import { merge } from "./collections.ts";
import { jsonOf } from "./encodings.ts";
import { larger, smaller } from "./numbers.ts";

export const sprigData: Functions = {
  sprig_default: takesMany(1, any, ([otherwise = null, given = null]) => (isTrue(given) ? given : otherwise)),
  sprig_empty: takes([any], ([value]) => !isTrue(value)),
  sprig_coalesce: takesMany(0, any, (args) => args.find(isTrue) ?? null),
  sprig_ternary: takes([any, any, any], ([yes, no, condition]) => (isTrue(condition) ? yes : no)),
  sprig_fail: takes([text], () => {
    throw new Fault("the template gives up here");
  }),
  sprig_kindOf: takes([any], ([value]) => kindName(value)),
  sprig_kindIs: takes([text, any], ([name, value]) => kindName(value) === name),
  sprig_typeOf: takes([any], ([value]) => typeOf(value)),

  sprig_list: takesMany(0, any, (args) => [...args]),
  sprig_first: takes([list], ([items]) => items[0] ?? null),
  sprig_last: takes([list], ([items]) => items.at(-1) ?? null),
  sprig_rest: takes([list], ([items]) => items.slice(1)),
  sprig_initial: takes([list], ([items]) => items.slice(0, -1)),
  sprig_reverse: takes([list], ([items]) => items.toReversed()),
  sprig_append: takes([list, any], ([items, item], { budget }) => grown([...items, item], budget)),
  sprig_prepend: takes([list, any], ([items, item], { budget }) => grown([item, ...items], budget)),
  sprig_concat: takesMany(0, list, (lists, { budget }) =>
    grown(
      lists.flatMap((items) => [...items]),
      budget,
    ),
  ),
  sprig_compact: takes([list], ([items]) => items.filter(isTrue)),
  sprig_uniq: takes([list], ([items]) =>
    items.filter((item, i) => items.findIndex((other) => same(other, item)) === i),
  ),
  sprig_has: takes([any, list], ([item, items]) => items.some((other) => same(other, item))),
  sprig_without: takesMany(1, any, ([items = null, ...out]) => list(items).filter((i) => !out.some((o) => same(o, i)))),
  sprig_sortAlpha: takes([list], ([items]) => items.map(textOfValue).sort(compareTexts)),
  sprig_until: takes([integer], ([count], { budget }) => {
    budget.produce(Math.max(count, 0));
    return Array.from({ length: Math.max(count, 0) }, (_, i) => BigInt(i));
  }),

  sprig_dict: takesMany(0, any, (args) => pairs(args)),
  sprig_hasKey: takes([map, text], ([value, key]) => value.has(key)),
  sprig_get: takes([map, text], ([value, key]) => value.get(key) ?? ""),
  sprig_keys: takesMany(1, map, (maps) => maps.flatMap((value) => sortedEntries(value).map(([key]) => key))),
  sprig_values: takes([map], ([value]) => sortedEntries(value).map(([, member]) => member)),
  sprig_pick: takesMany(1, any, ([value = null, ...keys]) => filtered(value, (key) => keys.includes(key))),
  sprig_omit: takesMany(1, any, ([value = null, ...keys]) => filtered(value, (key) => !keys.includes(key))),
  sprig_merge: takesMany(1, map, ([first = new Map(), ...rest]) => rest.reduce((a, b) => merge(a, b, false, 0), first)),

  sprig_int: takes([any], ([value]) => wholeOf(value)),
  sprig_int64: takes([any], ([value]) => wholeOf(value)),
  sprig_atoi: takes([text], ([value]) => wholeOf(value)),
  sprig_float64: takes([any], ([value]) => realOf(value)),
  sprig_add: takesMany(0, any, (args) => bounded(args.reduce((sum: bigint, arg) => sum + wholeOf(arg), 0n))),
  sprig_add1: takes([any], ([value]) => bounded(wholeOf(value) + 1n)),
  sprig_sub: takes([any, any], ([a, b]) => bounded(wholeOf(a) - wholeOf(b))),
  sprig_mul: takesMany(1, any, (args) => args.reduce((product: bigint, arg) => bounded(product * wholeOf(arg)), 1n)),
  sprig_div: takes([any, any], ([a, b]) => wholeOf(a) / nonZero(wholeOf(b))),
  sprig_mod: takes([any, any], ([a, b]) => wholeOf(a) % nonZero(wholeOf(b))),
  sprig_max: takesMany(1, any, (args) => args.map(wholeOf).reduce(larger)),
  sprig_min: takesMany(1, any, (args) => args.map(wholeOf).reduce(smaller)),
  sprig_toJson: takes([any], ([value]) => jsonOf(value)),
  sprig_toPrettyJson: takes([any], ([value]) => jsonOf(value, "  ")),
};

const KINDS: Readonly<Record<string, string>> = { bigint: "int", number: "float64", boolean: "bool", string: "string" };

function kindName(value: Value): string {
  if (value === null) return "invalid";
  if (isList(value)) return "slice";
  if (isMap(value)) return "map";
  return value instanceof JsonNumber ? "string" : (KINDS[typeof value] ?? "struct");
}

function grown(items: readonly Value[], budget: { produce(size: number): void }): Value {
  budget.produce(items.length);
  return items;
}

function same(a: Value, b: Value): boolean {
  if (a instanceof JsonNumber && b instanceof JsonNumber) return a.text === b.text;
  if ((isList(a) && isList(b)) || (isMap(a) && isMap(b))) return jsonOf(a) === jsonOf(b);
  return a === b;
}

function pairs(args: readonly Value[]): Value {
  const entries: [string, Value][] = [];
  for (let i = 0; i < args.length; i += 2) entries.push([textOfValue(args[i] ?? null), args[i + 1] ?? ""]);
  return new Map(entries);
}

function filtered(value: Value, test: (key: string) => boolean): Value {
  return new Map([...map(value)].filter(([key]) => test(key)));
}

function nonZero(value: bigint): bigint {
  if (value === 0n) throw new Fault("division by zero");
  return value;
}

/** int64 wraps around. */
function bounded(value: bigint): bigint {
  return BigInt.asIntN(64, value);
}

/** What is no number is 0, as in Sprig. */
function wholeOf(value: Value): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "boolean") return value ? 1n : 0n;
  const number = Math.trunc(realOf(value));
  return Number.isFinite(number) ? bounded(BigInt(number)) : 0n;
}

function realOf(value: Value): number {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  if (typeof value !== "string" && !(value instanceof JsonNumber))
    throw new Fault(`wants a number and has ${kindOf(value)}`);
  const content = text(value).trim();
  return /^[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(content) ? Number(content) : 0;
}
