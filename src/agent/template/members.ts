// Members of values (.a, index) and what `range` walks.
import { Fault } from "./fault.ts";
import type { Budget } from "./limits.ts";
import { isList, isMap, kindOf, Struct, sortedEntries, type Value } from "./values.ts";

/** The first name behind a dot or variable that is nothing: nothing again, as with Go. */
export function firstFieldOf(value: Value, name: string, args: readonly Value[], errorOnMissingKey: boolean): Value {
  if (value === null && args.length === 0 && !errorOnMissingKey) return null;
  return fieldOf(value, name, args, errorOnMissingKey);
}

/** `value.name`, with arguments where it is a method. */
export function fieldOf(value: Value, name: string, args: readonly Value[], errorOnMissingKey: boolean): Value {
  if (value instanceof Struct) return structField(value, name, args);
  if (args.length > 0) throw new Fault(`.${name} is no function and takes no arguments`);
  if (isMap(value)) {
    const found = value.get(name);
    if (found === undefined && errorOnMissingKey) throw new Fault(`there is no key "${name}"`);
    return found ?? null;
  }
  if (value === null) throw new Fault(`.${name} is asked of nothing: what stands before it has no value`);
  throw new Fault(`.${name} is asked of ${kindOf(value)}, which has no keys`);
}

function structField(value: Struct, name: string, args: readonly Value[]): Value {
  const method = value.methods.get(name);
  if (method !== undefined) return method(...args);
  const field = value.fields.get(name);
  if (field === undefined) {
    throw new Fault(`there is no .${name} here, only ${[...value.fields.keys()].map((key) => `.${key}`).join(", ")}`);
  }
  if (args.length > 0) throw new Fault(`.${name} is no function and takes no arguments`);
  return field;
}

/** `index value key…`. */
export function indexOf(value: Value, keys: readonly Value[]): Value {
  let current = value;
  for (const key of keys) current = indexOnce(current, key);
  return current;
}

function indexOnce(value: Value, key: Value): Value {
  if (isMap(value)) {
    if (typeof key === "string") return value.get(key) ?? null;
    throw new Fault(`a map has texts for keys, and the key is ${kindOf(key)}`);
  }
  if (typeof value !== "string" && !isList(value)) throw new Fault(`${kindOf(value)} has no items`);
  if (typeof key !== "bigint") throw new Fault(`items have whole numbers, and the key is ${kindOf(key)}`);
  const length = isList(value) ? value.length : Buffer.byteLength(value);
  if (key < 0n || key >= length) throw new Fault("there is no item of that number");
  return isList(value) ? (value[Number(key)] ?? null) : BigInt(Buffer.from(value)[Number(key)] ?? 0);
}

/** Keys and items: of a list by number, of a map in the order of its keys, of a number n from 0 to n-1. */
export function itemsOf(value: Value, budget: Budget): readonly (readonly [Value, Value])[] {
  if (value === null) return [];
  if (isList(value)) return value.map((item, i) => [BigInt(i), item] as const);
  if (isMap(value)) return sortedEntries(value);
  if (typeof value !== "bigint") throw new Fault(`range walks lists and maps, and this is ${kindOf(value)}`);
  const size = value > 0n ? Number(value) : 0;
  budget.produce(size);
  return Array.from({ length: size }, (_, i) => [BigInt(i), BigInt(i)] as const);
}
