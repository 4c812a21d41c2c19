// An ACL policy as it is stored, and where:
//
//   core/policy/<name>    PolicyRecord; in the key, "/" and "%" of a name are written %2F and %25
import { type Infer, number, object, string } from "#common/schema.ts";
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
