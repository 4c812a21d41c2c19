// The text of a password policy (HCL or JSON) to its rules. The language is that of Vault's password policies:
//
//   length = 20
//   rule "charset" { charset = "abcdef…"  min-chars = 1 }
//
// Generating is generate-password.ts; nothing here knows where policies are kept.
import { CofferError } from "#common/errors.ts";
import { parseHcl, unknownItems } from "#common/hcl/parser.ts";
import { blocksOf, type HclBlock, type HclObject, keyOf, toJson } from "#common/hcl/syntax-tree.ts";
import type { JsonValue } from "#common/json.ts";

/** Shorter passwords can be guessed whatever their characters; longer ones are refused by what takes passwords. */
export const PASSWORD_LENGTH_MIN = 4;
export const PASSWORD_LENGTH_MAX = 100;
/** Rules are some letters, digits and signs: a handful. */
export const RULES_MAX = 32;
/** All of Unicode's letters in use fit; a policy is written by people. */
export const CHARSET_LENGTH_MAX = 4096;

export interface CharsetRule {
  /** Distinct characters (code points), in the order of the text. */
  readonly characters: readonly string[];
  /** How many characters of a password must be of this set. */
  readonly least: number;
}

export interface PasswordPolicy {
  readonly length: number;
  readonly rules: readonly CharsetRule[];
}

/** Parses a policy. Throws `invalid_request` saying what is wrong and where. */
export function parsePasswordPolicy(text: string): PasswordPolicy {
  const document = parseHcl(text);
  assertKnown(document, ["length", "rule"], "the policy");
  const length = wholeNumber(memberOf(document, "length"), "length");
  if (length < PASSWORD_LENGTH_MIN || length > PASSWORD_LENGTH_MAX)
    throw invalid(`length must be from ${PASSWORD_LENGTH_MIN} to ${PASSWORD_LENGTH_MAX}`);
  const blocks = blocksOf(document, "rule", 1);
  if (blocks.length === 0) throw invalid('there is no rule; write rule "charset" { charset = "…" }');
  if (blocks.length > RULES_MAX) throw invalid(`there are more than ${RULES_MAX} rules`);
  const rules = blocks.map(ruleOf);
  const needed = rules.reduce((sum, rule) => sum + rule.least, 0);
  if (needed > length) throw invalid(`the rules need at least ${needed} characters but length is ${length}`);
  return { length, rules };
}

function ruleOf({ labels, body }: HclBlock): CharsetRule {
  const kind = labels[0]?.text ?? "";
  if (kind !== "charset") throw invalid(`there is no rule ${JSON.stringify(kind)}; the only rule is "charset"`);
  assertKnown(body, ["charset", "min-chars"], 'rule "charset"');
  const charset = memberOf(body, "charset");
  if (typeof charset !== "string" || charset === "") throw invalid("charset must be a text with the characters");
  if (charset.length > CHARSET_LENGTH_MAX) throw invalid(`charset has more than ${CHARSET_LENGTH_MAX} characters`);
  if (/\p{C}/u.test(charset)) throw invalid("charset must have printable characters only");
  const least = memberOf(body, "min-chars");
  return {
    characters: [...new Set(charset)],
    least: least === undefined ? 0 : wholeNumber(least, "min-chars"),
  };
}

function memberOf(object: HclObject, name: string): JsonValue | undefined {
  const item = object.items.findLast((candidate) => keyOf(candidate).text === name);
  return item && toJson(item.value);
}

function wholeNumber(value: JsonValue | undefined, name: string): number {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return number;
  throw invalid(`${name} must be a whole number`);
}

function assertKnown(object: HclObject, known: readonly string[], where: string): void {
  const [unknown] = unknownItems(object, known);
  if (unknown) throw invalid(`${where} has no member ${JSON.stringify(keyOf(unknown).text)}`);
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", `invalid password policy: ${message}`);
}
