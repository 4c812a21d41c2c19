// Which quota is for a request: at most one of each kind, the most specific. Pure.
import type { QuotaKind, QuotaRule } from "./quota-record.ts";

export interface QuotaSubject {
  /** "" is the root namespace. */
  readonly namespace: string;
  readonly mountPath: string;
  readonly path: string;
  /** Of a login; "" otherwise. */
  readonly role: string;
}

/** Role before exact path before the longest pattern before mount before namespace before those above it. */
export function matchQuota(rules: readonly QuotaRule[], kind: QuotaKind, subject: QuotaSubject): QuotaRule | undefined {
  let best: { rule: QuotaRule; rank: number } | undefined;
  for (const rule of rules) {
    if (rule.kind !== kind) continue;
    const rank = rankOf(rule, subject);
    if (rank !== undefined && (best === undefined || rank > best.rank)) best = { rule, rank };
  }
  return best?.rule;
}

/** Paths and namespaces are shorter than this, so that a longer match of a lesser class never wins. */
const CLASS = 1_000_000;

function rankOf(rule: QuotaRule, subject: QuotaSubject): number | undefined {
  if (rule.mountPath === "") {
    if (rule.namespace === subject.namespace) return CLASS;
    const isBelow = rule.namespace === "" || subject.namespace.startsWith(`${rule.namespace}/`);
    return isBelow && holdsBelow(rule) ? rule.namespace.length : undefined;
  }
  if (rule.namespace !== subject.namespace || rule.mountPath !== subject.mountPath) return undefined;
  if (rule.role !== "" && rule.role !== subject.role) return undefined;
  const byPath = pathRank(rule, subject.path);
  if (byPath === undefined) return undefined;
  return rule.role === "" ? byPath : 5 * CLASS + byPath;
}

/** Whether a quota is for the namespaces below as well. The root's for everything is for everything, as Vault has it. */
export function holdsBelow(rule: QuotaRule): boolean {
  return rule.mountPath === "" && (rule.inheritable || rule.namespace === "");
}

function pathRank(rule: QuotaRule, path: string): number | undefined {
  if (rule.path === rule.mountPath) return 2 * CLASS;
  if (rule.path.endsWith("*")) {
    const prefix = rule.path.slice(0, -1);
    return path.startsWith(prefix) ? 3 * CLASS + prefix.length : undefined;
  }
  return path === rule.path ? 4 * CLASS : undefined;
}

/** Whether one of the patterns is for the path; a * at the end is for all that begins so. */
export function isExempt(patterns: readonly string[], path: string): boolean {
  return patterns.some((pattern) =>
    pattern.endsWith("*") ? path.startsWith(pattern.slice(0, -1)) : path === pattern || path === `${pattern}/`,
  );
}
