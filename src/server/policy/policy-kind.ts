// An ACL policy as it is stored, and where:
//
//   core/policy/<name>    PolicyRecord; in the key, "/" and "%" of a name are written %2F and %25
import { boolean, type Infer, number, object, optional, string } from "#common/schema.ts";
import { recordKind } from "../barrier/transaction.ts";

const policySchema = object({
  /** Lower case. */
  name: string,
  /** Byte for byte as it was written. */
  text: string,
  /** Grows by one with every write. */
  version: number,
  /** RFC 3339. */
  modified: string,
  /** From then on it grants nothing and counts as not there. */
  expiresAtMillis: optional(number),
  /** The next write must name the version. */
  casRequired: optional(boolean),
  /** What the values of its templates may hold besides plain text; each widens what a rule can match. */
  allowWildcards: optional(boolean),
  allowSlashes: optional(boolean),
});
export type PolicyRecord = Infer<typeof policySchema>;
export const policyKind = recordKind("policy", policySchema, { cached: true });

export const POLICY_PREFIX = "core/policy/";

/** The key of a policy whose name is in lower case. */
export function policyKey(name: string): string {
  return POLICY_PREFIX + name.replace(/[%/]/g, (c) => (c === "/" ? "%2F" : "%25"));
}

/** The name in a key below the prefix. */
export function policyNameOf(encoded: string): string {
  return encoded.replace(/%2F|%25/g, (c) => (c === "%2F" ? "/" : "%"));
}
