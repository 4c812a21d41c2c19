// A random password by a policy. Every choice is made by randomInt, which has no modulo bias.
import { randomInt } from "node:crypto";
import type { PasswordPolicy } from "./password-policy.ts";

/**
 * First what each rule demands, then any characters up to the length, then all of it shuffled, so that no place of the
 * password tells which rule filled it. Always ends: the parser made sure that the demands fit.
 */
export function generatePassword(policy: PasswordPolicy): string {
  const all = [...new Set(policy.rules.flatMap((rule) => rule.characters))];
  const chosen = policy.rules.flatMap(({ characters, least }) => Array.from({ length: least }, () => pick(characters)));
  while (chosen.length < policy.length) chosen.push(pick(all));
  return shuffled(chosen).join("");
}

function pick(characters: readonly string[]): string {
  const character = characters[randomInt(characters.length)];
  if (character === undefined) throw new Error("a charset has at least one character");
  return character;
}

/** Fisher and Yates: each order is as likely as any other. */
function shuffled(items: readonly string[]): readonly string[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = randomInt(i + 1);
    [result[i], result[j]] = [result[j] ?? "", result[i] ?? ""];
  }
  return result;
}
