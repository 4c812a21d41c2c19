// What a write makes of a policy: the checks, and the record that follows. Pure; policy-store.ts keeps it.
import type { Millis } from "#common/clock.ts";
import { DEFAULT_POLICY, IMMUTABLE_POLICIES } from "./builtin-policies.ts";
import { parsePolicy } from "./parse-policy.ts";
import type { PolicyRecord } from "./policy-kind.ts";
import { invalid } from "./policy-text.ts";

/** Longer names would not fit a storage key next to the namespace's part of it. */
export const POLICY_NAME_LENGTH_MAX = 512;

export interface PolicyWrite
  extends Pick<PolicyRecord, "text" | "casRequired" | "expiresAtMillis" | "allowWildcards" | "allowSlashes"> {
  /** The version that it must have now: 0 for none, and -1 for none as clients of OpenBao say it. */
  readonly cas?: number | undefined;
}

/** The record of a policy after a write. Throws `invalid_request`. */
export function policyRecordOf(
  name: string,
  wanted: PolicyWrite,
  before: PolicyRecord | undefined,
  now: Millis,
): PolicyRecord {
  const { text, casRequired = false, expiresAtMillis, allowWildcards = false, allowSlashes = false } = wanted;
  const key = checkedName(name);
  if (IMMUTABLE_POLICIES.includes(key)) throw invalid(`cannot update ${JSON.stringify(key)} policy`);
  if (text === "") throw invalid("'policy' parameter not supplied or empty");
  parsePolicy(key, text);
  assertEnd(key, expiresAtMillis, now);
  const version = before?.version ?? 0;
  assertVersion(wanted.cas, version, casRequired || before?.casRequired === true);
  return {
    name: key,
    text,
    version: version + 1,
    modified: new Date(now).toISOString(),
    ...(expiresAtMillis !== undefined && { expiresAtMillis }),
    ...(casRequired && { casRequired }),
    ...(allowWildcards && { allowWildcards }),
    ...(allowSlashes && { allowSlashes }),
  };
}

function assertEnd(name: string, expiresAtMillis: Millis | undefined, now: Millis): void {
  if (expiresAtMillis === undefined) return;
  if (name === DEFAULT_POLICY) throw invalid("the default policy cannot expire: its built-in text would come back");
  if (expiresAtMillis <= now) throw invalid("expiration must be in the future");
}

function assertVersion(cas: number | undefined, version: number, required: boolean): void {
  if (cas === undefined && required) throw invalid("check-and-set parameter required for this call");
  if (cas === undefined) return;
  if (cas === -1 && version > 0) throw invalid("check-and-set parameter set to -1 on existing entry");
  if (cas !== -1 && cas !== version) throw invalid("check-and-set parameter did not match the current version");
}

function checkedName(name: string): string {
  const key = name.toLowerCase();
  if (key === "" || key.length > POLICY_NAME_LENGTH_MAX || /\p{Cc}/u.test(key))
    throw invalid(`a policy's name has 1 to ${POLICY_NAME_LENGTH_MAX} characters, none of them control characters`);
  return key;
}
