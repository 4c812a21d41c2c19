// What an ACL grants, told rule by rule: the shape of `sys/internal/ui/resultant-acl`, and the question whether a
// mount is of any use to a caller. For showing; decisions come from `check` alone.
import type { JsonObject, JsonValue } from "#common/json.ts";
import { DENY } from "./capabilities.ts";
import type { ParameterMap } from "./parameter-rules.ts";
import type { Permissions } from "./permissions.ts";
import { isPattern } from "./rule-index.ts";

/** Wire names. In `glob_paths` a last "*" is left out; "+" segments stay. */
export interface ResultantAcl {
  readonly root: boolean;
  readonly exact_paths: JsonObject;
  readonly glob_paths: JsonObject;
}

export function resultantOf(rules: readonly Permissions[]): ResultantAcl {
  const sorted = [...rules].sort((a, b) => (a.pattern < b.pattern ? -1 : 1));
  const entries = (globs: boolean) =>
    sorted
      .filter((rule) => isPattern(rule.pattern) === globs)
      .map((rule): [string, JsonObject] => [globKey(rule.pattern), describe(rule)]);
  return {
    root: false,
    exact_paths: Object.fromEntries(entries(false)),
    glob_paths: Object.fromEntries(entries(true)),
  };
}

/** A pattern as a key of `glob_paths`. */
export function globKey(pattern: string): string {
  return pattern.endsWith("*") ? pattern.slice(0, -1) : pattern;
}

function describe(rule: Permissions): JsonObject {
  const { required, denied, allowed } = rule.parameters;
  return {
    capabilities: rule.words,
    ...(allowed.size > 0 && { allowed_parameters: asObject(allowed) }),
    ...(denied.size > 0 && { denied_parameters: asObject(denied) }),
    ...(required.length > 0 && { required_parameters: required }),
    ...(rule.minWrappingTtlSeconds > 0 && { min_wrapping_ttl: rule.minWrappingTtlSeconds }),
    ...(rule.maxWrappingTtlSeconds > 0 && { max_wrapping_ttl: rule.maxWrappingTtlSeconds }),
    ...(rule.paginationLimit > 0 && { pagination_limit: rule.paginationLimit }),
  };
}

function asObject(parameters: ParameterMap): Readonly<Record<string, JsonValue>> {
  return Object.fromEntries(parameters);
}

/** True when a rule that grants something can match a path at or below the prefix, which ends in "/". */
export function grantsBelow(rules: readonly Permissions[], prefix: string): boolean {
  const folders = prefix.replace(/\/$/, "").split("/");
  return rules.some((rule) => rule.bits !== 0 && rule.bits !== DENY && reaches(rule.pattern, folders));
}

function reaches(pattern: string, folders: readonly string[]): boolean {
  const segments = pattern.split("/");
  for (const [at, folder] of folders.entries()) {
    const segment = segments[at];
    if (segment === undefined) return false;
    if (at === segments.length - 1 && segment.endsWith("*")) return folder.startsWith(segment.slice(0, -1));
    if (segment !== "+" && segment !== folder) return false;
  }
  return true;
}
