// Many policies compiled into one answer to "may this request be done?". Pure and immutable: whoever keeps an Acl
// keys it by what it was compiled from. Rules as documented:
// https://developer.hashicorp.com/vault/docs/concepts/policies
import type { Millis } from "#common/clock.ts";
import type { ParsedPolicy, PolicyRule } from "./parsed-policy.ts";
import { type AccessRequest, type Decision, Permissions, type RuleSource } from "./permissions.ts";
import { grantsBelow, type ResultantAcl, resultantOf } from "./resultant-acl.ts";
import { RuleIndex } from "./rule-index.ts";
import { hasTemplate } from "./templates.ts";

/** The policy that may do everything. It has no text. */
export const ROOT_POLICY = "root";

export interface Acl {
  readonly isRoot: boolean;
  /** A rule runs out then, so compile again; Infinity when none does. */
  readonly validUntilMillis: Millis;
  check(request: AccessRequest): Decision;
  /** Sorted; ["root"] for root, ["deny"] for nothing. */
  capabilities(path: string): readonly string[];
  /** Whether events of a type about a path may be seen. */
  subscribes(path: string, eventType: string): boolean;
  /** The rules that decide about a request, as they stand in the policies' texts; none when no rule matches. */
  sources(request: AccessRequest): readonly RuleSource[];
  /** True when something at or below the prefix ("secret/") may be done: whether a mount is shown to the caller. */
  grantsBelow(prefix: string): boolean;
  /** Every rule that counts, for `sys/internal/ui/resultant-acl`. */
  resultant(): ResultantAcl;
  /** The patterns of all rules. */
  readonly patterns: readonly string[];
}

/**
 * Compiles policies. Rules with templates that were not applied are left out, and so are rules that have expired by
 * `nowMillis`. A policy named "root" makes everything allowed.
 */
export function compileAcl(policies: readonly ParsedPolicy[], nowMillis: Millis = 0): Acl {
  if (policies.some((policy) => policy.name === ROOT_POLICY)) return rootAcl;
  const byPattern = new Map<string, [string, PolicyRule][]>();
  let validUntilMillis = Number.POSITIVE_INFINITY;
  for (const { name, rules } of policies)
    for (const rule of rules) {
      const { expirationMillis = Number.POSITIVE_INFINITY } = rule;
      if (hasTemplate(rule.path) || expirationMillis <= nowMillis) continue;
      validUntilMillis = Math.min(validUntilMillis, expirationMillis);
      const same = byPattern.get(rule.path);
      if (same) same.push([name, rule]);
      else byPattern.set(rule.path, [[name, rule]]);
    }
  const rules = [...byPattern].map(([pattern, all]) => new Permissions(pattern, all));
  return new CompiledAcl(rules, validUntilMillis);
}

class CompiledAcl implements Acl {
  readonly isRoot = false;
  readonly validUntilMillis: Millis;
  readonly #rules: readonly Permissions[];
  readonly #index: RuleIndex;
  constructor(rules: readonly Permissions[], validUntilMillis: Millis) {
    this.validUntilMillis = validUntilMillis;
    this.#rules = rules;
    this.#index = new RuleIndex(rules);
  }

  get patterns(): readonly string[] {
    return this.#rules.map((rule) => rule.pattern);
  }

  check(request: AccessRequest): Decision {
    return this.#permissionsFor(request)?.decide(request) ?? NOTHING;
  }

  sources(request: AccessRequest): readonly RuleSource[] {
    return this.#permissionsFor(request)?.sources() ?? [];
  }

  #permissionsFor({ operation, path }: AccessRequest): Permissions | undefined {
    const listing = operation === "list" || operation === "scan";
    return this.#ofFolder(listing ? withSlash(path) : path);
  }

  capabilities(path: string): readonly string[] {
    return this.#ofFolder(path)?.words ?? NOTHING.capabilities;
  }

  subscribes(path: string, eventType: string): boolean {
    return this.#ofFolder(path)?.subscribes(eventType) ?? false;
  }

  grantsBelow(prefix: string): boolean {
    return grantsBelow(this.#rules, prefix);
  }

  resultant(): ResultantAcl {
    return resultantOf(this.#rules);
  }

  /**
   * A folder's rule may be written with or without the slash at its end. The same for other operations: most paths are
   * served with and without it, and a rule about "sys/mounts/x" must hold for "sys/mounts/x/".
   */
  #ofFolder(path: string): Permissions | undefined {
    const exact = this.#index.exact(path) ?? (path.endsWith("/") ? this.#index.exact(path.slice(0, -1)) : undefined);
    return exact ?? this.#index.pattern(path);
  }
}

function withSlash(path: string): string {
  return path === "" || path.endsWith("/") ? path : `${path}/`;
}

const NOTHING: Decision = {
  allowed: false,
  sudo: false,
  isRoot: false,
  capabilities: ["deny"],
  grantingPolicies: [],
  refusal: "no-rule",
  paginationLimit: 0,
};

const EVERYTHING: Decision = {
  allowed: true,
  sudo: true,
  isRoot: true,
  capabilities: ["root"],
  grantingPolicies: [ROOT_POLICY],
  paginationLimit: 0,
};

export const rootAcl: Acl = {
  isRoot: true,
  validUntilMillis: Number.POSITIVE_INFINITY,
  patterns: [],
  check: () => EVERYTHING,
  sources: () => [],
  capabilities: () => EVERYTHING.capabilities,
  subscribes: () => true,
  grantsBelow: () => true,
  resultant: () => ({ root: true, exact_paths: {}, glob_paths: {} }),
};
