// What a text in HCL 1 (or the same thing in JSON) says, as a tree with positions. Nothing here knows what a block
// means. The language is HashiCorp's "HCL 1": https://github.com/hashicorp/hcl/tree/hcl1#syntax
import { CofferError } from "../errors.ts";
import type { JsonValue } from "../json.ts";

/** Counted from 1, columns in characters. */
export interface Position {
  readonly line: number;
  readonly column: number;
  /** Which of several texts, where that matters. */
  readonly file?: string | undefined;
}

export type HclScalar =
  | { readonly kind: "string"; readonly value: string; readonly position: Position }
  | { readonly kind: "number"; readonly value: number; readonly position: Position }
  | { readonly kind: "boolean"; readonly value: boolean; readonly position: Position }
  | { readonly kind: "null"; readonly position: Position };
export interface HclList {
  readonly kind: "list";
  readonly values: readonly HclValue[];
  readonly position: Position;
}
export interface HclObject {
  readonly kind: "object";
  readonly items: readonly HclItem[];
  readonly position: Position;
}
export type HclValue = HclScalar | HclList | HclObject;

export interface HclKey {
  readonly text: string;
  readonly position: Position;
}

/** `key = value`, or a block: `key "label" "label" { … }`. */
export interface HclItem {
  /** At least one; the ones after the first are labels. */
  readonly keys: readonly HclKey[];
  readonly value: HclValue;
  /** Where the "=" stands; 0 for a block, which has none. */
  readonly assignLine: number;
}

/** A block with its labels taken apart. */
export interface HclBlock {
  readonly labels: readonly HclKey[];
  readonly body: HclObject;
  readonly position: Position;
}

/** A fault of a text, with its position in front: "At 3:14: …", or "a.hcl: At 3:14: …". */
export function hclError(position: Position, problem: string): CofferError {
  const file = position.file === undefined ? "" : `${position.file}: `;
  return new CofferError("invalid_request", `${file}At ${position.line}:${position.column}: ${problem}`);
}

/** Name and position of an item. */
export function keyOf(item: HclItem): HclKey {
  const [key] = item.keys;
  if (!key) throw new Error("an item has at least one key");
  return key;
}

/**
 * All blocks of one name with a fixed number of labels, in order. Labels may stand beside the name or be members of
 * an object (`path "a" {…}`, `path = { "a" = {…} }`, and JSON's `{"path": [{"a": {…}}]}` are the same).
 */
export function blocksOf(object: HclObject, name: string, labelCount: number): readonly HclBlock[] {
  return object.items
    .filter((item) => keyOf(item).text === name)
    .flatMap((item) => {
      // An empty block without its labels says nothing; taking it for no block would hide the mistake.
      const bare = item.assignLine === 0 && item.value.kind === "object" && item.value.items.length === 0;
      if (bare && item.keys.length <= labelCount) throw labelMissing(keyOf(item), labelCount);
      return takeApart(item.value, item.keys.slice(1), labelCount, keyOf(item));
    });
}

function takeApart(value: HclValue, labels: readonly HclKey[], labelCount: number, name: HclKey): readonly HclBlock[] {
  if (value.kind === "null") return [];
  if (value.kind === "list") return value.values.flatMap((inner) => takeApart(inner, labels, labelCount, name));
  if (value.kind !== "object")
    throw hclError(value.position, `${name.text} must be a block: ${shape(name, labelCount)}`);
  if (labels.length > labelCount) throw hclError(name.position, `too many labels; write ${shape(name, labelCount)}`);
  if (labels.length === labelCount) return [{ labels, body: value, position: name.position }];
  if (
    value.items.some((item) => item.value.kind !== "object" && item.value.kind !== "list" && item.value.kind !== "null")
  )
    throw labelMissing(name, labelCount);
  return value.items.flatMap((item) => takeApart(item.value, [...labels, ...item.keys], labelCount, name));
}

function labelMissing(name: HclKey, labelCount: number): CofferError {
  return hclError(name.position, `a label is missing; write ${shape(name, labelCount)}`);
}

function shape(name: HclKey, labelCount: number): string {
  return `${name.text} ${'"…" '.repeat(labelCount)}{ … }`;
}

/** Plain JSON of a value. Labels become nested objects; a block or key that repeats becomes a list. */
export function toJson(value: HclValue): JsonValue {
  if (value.kind === "null") return null;
  if (value.kind === "list") return value.values.map(toJson);
  if (value.kind !== "object") return value.value;
  const members = new Map<string, JsonValue[]>();
  for (const item of value.items) {
    const json = item.keys.slice(1).reduceRight<JsonValue>((inner, key) => ({ [key.text]: inner }), toJson(item.value));
    const name = keyOf(item).text;
    const same = members.get(name);
    if (same) same.push(json);
    else members.set(name, [json]);
  }
  return Object.fromEntries([...members].map(([name, all]) => [name, all.length === 1 ? (all[0] ?? null) : all]));
}
