// Permission boundaries: what a token may do is what its policies AND its boundary allow. A boundary grants nothing
// by itself; root policies under a boundary are no more than the boundary.
import type { Acl } from "./acl.ts";
import { unitedControl } from "./control-group.ts";
import { type Decision, leastOf } from "./permissions.ts";
import { globKey, type ResultantAcl } from "./resultant-acl.ts";
import { isPattern } from "./rule-index.ts";

/** Longer than any name a rule spells out, so that a pattern is asked about as a whole. */
const ANY_NAME = "\u{10ffff}";
const ANY_PATH = `${ANY_NAME}/`.repeat(8) + ANY_NAME;

/** The intersection of two ACLs: an operation is allowed when both allow it. */
export function boundAcl(acl: Acl, boundary: Acl): Acl {
  const capabilities = (path: string) => intersect(acl.capabilities(path), boundary.capabilities(path));
  return {
    isRoot: acl.isRoot && boundary.isRoot,
    validUntilMillis: Math.min(acl.validUntilMillis, boundary.validUntilMillis),
    patterns: [...new Set([...acl.patterns, ...boundary.patterns])],
    check(request) {
      const own = acl.check(request);
      return own.allowed ? both(own, boundary.check(request)) : own;
    },
    sources: (request) => [...acl.sources(request), ...boundary.sources(request)],
    capabilities,
    subscribes: (path, type) => acl.subscribes(path, type) && boundary.subscribes(path, type),
    grantsBelow: (prefix) => acl.grantsBelow(prefix) && boundary.grantsBelow(prefix),
    resultant: () => resultant(acl, boundary, capabilities),
  };
}

function both(own: Decision, limit: Decision): Decision {
  return {
    allowed: limit.allowed,
    sudo: own.sudo && limit.sudo,
    isRoot: own.isRoot && limit.isRoot,
    capabilities: intersect(own.capabilities, limit.capabilities),
    grantingPolicies: limit.allowed ? own.grantingPolicies : [],
    rule: own.rule,
    refusal: limit.allowed ? undefined : "boundary",
    paginationLimit: leastOf([own.paginationLimit, limit.paginationLimit]),
    listFilters: [...(own.listFilters ?? []), ...(limit.listFilters ?? [])],
    ...(limit.allowed && { controlGroup: unitedControl([own.controlGroup, limit.controlGroup]) }),
  };
}

function intersect(a: readonly string[], b: readonly string[]): readonly string[] {
  if (a[0] === "root") return b;
  if (b[0] === "root") return a;
  const common = a.filter((word) => word !== "deny" && b.includes(word));
  return common.length > 0 ? common : ["deny"];
}

function resultant(acl: Acl, boundary: Acl, capabilities: (path: string) => readonly string[]): ResultantAcl {
  if (acl.isRoot) return boundary.resultant();
  if (boundary.isRoot) return acl.resultant();
  const found = (globs: boolean) =>
    [...new Set([...acl.patterns, ...boundary.patterns])]
      .filter((pattern) => isPattern(pattern) === globs)
      .sort()
      .map((pattern) => [globKey(pattern), { capabilities: capabilities(sample(pattern)) }] as const)
      .filter(([, entry]) => entry.capabilities[0] !== "deny");
  return { root: false, exact_paths: Object.fromEntries(found(false)), glob_paths: Object.fromEntries(found(true)) };
}

/** A path that a pattern matches and no rule names more exactly, deep enough for no "+" to reach. */
function sample(pattern: string): string {
  if (!isPattern(pattern)) return pattern;
  const path = pattern.endsWith("*") ? `${pattern.slice(0, -1)}${ANY_PATH}` : pattern;
  return path.replace(/(?<=^|\/)\+(?=\/|$)/g, ANY_NAME);
}
