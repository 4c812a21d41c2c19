// Blocks whose type is a label or a member, in all spellings that files of Vault's agent have:
//   method "aws" { … }    method { type = "aws" … }    {"method": [{"type": "aws"}]}    {"method": {"aws": {…}}}
import { type HclObject, type HclValue, hclError, keyOf, type Position } from "#common/hcl/syntax-tree.ts";

export interface LooseBlock {
  /** The label, where there is one. */
  readonly label: string | undefined;
  readonly body: HclObject;
  readonly position: Position;
}

/**
 * All blocks of that name, in order. `known` are the members that such a block may have, if it may have a label: in JSON
 * only they tell a label from a member.
 */
export function looseBlocks(object: HclObject, name: string, known?: readonly string[]): readonly LooseBlock[] {
  return object.items
    .filter((item) => keyOf(item).text === name)
    .flatMap((item) => {
      const [, label, more] = item.keys;
      const extra = known === undefined ? label : more;
      if (extra !== undefined) throw hclError(extra.position, `${name} has a label too many: "${extra.text}"`);
      return takeApart(item.value, name, label?.text, known);
    });
}

function takeApart(
  value: HclValue,
  name: string,
  label: string | undefined,
  known: readonly string[] | undefined,
): readonly LooseBlock[] {
  if (value.kind === "null") return [];
  if (value.kind === "list") return value.values.flatMap((inner) => takeApart(inner, name, label, known));
  if (value.kind !== "object") throw hclError(value.position, `${name} must be a block: ${name} { … }`);
  const [only, second] = value.items;
  const mayBeLabel = known !== undefined && label === undefined && second === undefined && only !== undefined;
  if (mayBeLabel && !known.includes(keyOf(only).text) && (only.value.kind === "object" || only.value.kind === "list"))
    return takeApart(only.value, name, keyOf(only).text, known);
  return [{ label, body: value, position: value.position }];
}

/** The one block of a name, or undefined. Throws when there are two. */
export function oneBlock(object: HclObject, name: string, known?: readonly string[]): LooseBlock | undefined {
  const [first, second] = looseBlocks(object, name, known);
  if (second !== undefined) throw hclError(second.position, `there are two ${name} blocks; write one`);
  return first;
}
