// consul-template's functions on maps.
import { Fault } from "../fault.ts";
import { type Functions, map, takes } from "../function.ts";
import { isMap, isTrue, sortedEntries, type Value, type ValueMap } from "../values.ts";

const MERGE_DEPTH_MAX = 32;

export const collections: Functions = {
  mergeMap: takes([map, map], ([into, from]) => merge(into, from, false, 0)),
  mergeMapWithOverride: takes([map, map], ([into, from]) => merge(into, from, true, 0)),
  explodeMap: takes([map], ([value]) => explode(value)),
};

/** What is empty in the first map is filled from the second; with `overrides` the second map wins. */
export function merge(into: ValueMap, from: ValueMap, overrides: boolean, depth: number): ValueMap {
  if (depth > MERGE_DEPTH_MAX) throw new Fault("the maps are nested too deep");
  const merged = new Map(into);
  for (const [key, value] of from) {
    const known = merged.get(key) ?? null;
    if (isMap(known) && isMap(value)) merged.set(key, merge(known, value, overrides, depth + 1));
    else if (!isTrue(known) || (overrides && isTrue(value))) merged.set(key, value);
  }
  return merged;
}

/** `{"a/b": 1}` becomes `{"a": {"b": 1}}`. */
function explode(value: ValueMap): ValueMap {
  const root = new Map<string, Value>();
  for (const [path, leaf] of sortedEntries(value)) {
    const names = path.split("/");
    const last = names.pop() ?? "";
    if (names.length > MERGE_DEPTH_MAX) throw new Fault("a key has too many parts");
    let level = root;
    for (const name of names) {
      const next = level.get(name) ?? new Map<string, Value>();
      if (!(next instanceof Map)) throw new Fault("a key is a value and a map at once");
      level.set(name, next);
      level = next;
    }
    if (last !== "") level.set(last, leaf);
  }
  return root;
}
