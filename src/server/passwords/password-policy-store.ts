// Password policies in storage, one record each:
//
//   core/password-policy/<name, percent-encoded>   { name, text }
import { object, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import type { Page } from "../storage/storage.ts";
import { generatePassword } from "./generate-password.ts";
import { parsePasswordPolicy } from "./password-policy.ts";

const kind = recordKind("password policy", object({ name: string, text: string }), { cached: true });
const PREFIX = "core/password-policy/";

function keyOf(name: string): string {
  return PREFIX + encodeURIComponent(name);
}

/** Text of a policy, or undefined. */
export async function readPasswordPolicy(tx: Transaction, name: string): Promise<string | undefined> {
  return (await tx.read(kind, keyOf(name)))?.text;
}

/** Throws `invalid_request` for a text that is no policy. */
export function writePasswordPolicy(tx: Transaction, name: string, text: string): void {
  parsePasswordPolicy(text);
  tx.write(kind, keyOf(name), { name, text });
}

export function deletePasswordPolicy(tx: Transaction, name: string): void {
  tx.delete(keyOf(name));
}

export async function listPasswordPolicies(tx: Transaction, page: Page): Promise<readonly string[]> {
  return (await tx.list(PREFIX, page)).map(decodeURIComponent);
}

/** A password by the policy of this name, or undefined when there is none. */
export async function passwordByPolicy(tx: Transaction, name: string): Promise<string | undefined> {
  const text = await readPasswordPolicy(tx, name);
  return text === undefined ? undefined : generatePassword(parsePasswordPolicy(text));
}
