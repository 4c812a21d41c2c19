// Finds the one rule that decides about a path. Exact rules are a map; patterns are a tree of segments, so the time
// depends on the path's segments and not on the number of rules. Which pattern wins was settled when it was built:
// every pattern has a rank (https://developer.hashicorp.com/vault/docs/concepts/policies#priority-matching).
import type { Permissions } from "./permissions.ts";

interface Pattern {
  readonly permissions: Permissions;
  /** Higher wins. */
  readonly rank: number;
}

interface Node {
  readonly children: Map<string, Node>;
  plus: Node | undefined;
  /** A pattern that ends here, without "*". */
  end: Pattern | undefined;
  /** Patterns that end here in `text*`, by that text. */
  readonly partials: Map<string, Pattern>;
  /** The lengths of those texts, longest first. */
  partialLengths: number[];
}

export class RuleIndex {
  readonly #exact = new Map<string, Permissions>();
  readonly #root = newNode();

  /** `rules` have distinct patterns. */
  constructor(rules: readonly Permissions[]) {
    const patterns = rules.filter((rule) => isPattern(rule.pattern));
    for (const rule of rules) if (!isPattern(rule.pattern)) this.#exact.set(rule.pattern, rule);
    patterns.sort((a, b) => comparePriority(a.pattern, b.pattern));
    for (const [rank, permissions] of patterns.entries()) insert(this.#root, { permissions, rank });
  }

  exact(path: string): Permissions | undefined {
    return this.#exact.get(path);
  }

  /** The best of all patterns that match; exact rules are not looked at. */
  pattern(path: string): Permissions | undefined {
    return bestOf(this.#root, path.split("/"), 0, undefined)?.permissions;
  }
}

/** True for a rule with "*" at the end or a "+" segment; other "*" and "+" are plain characters. */
export function isPattern(path: string): boolean {
  return path.endsWith("*") || path.split("/").includes("+");
}

/** Negative when `a` loses against `b`: the rules of priority, in their documented order. */
export function comparePriority(a: string, b: string): number {
  return (
    firstWildcard(a) - firstWildcard(b) ||
    Number(b.endsWith("*")) - Number(a.endsWith("*")) ||
    plusCount(b) - plusCount(a) ||
    a.length - b.length ||
    (a < b ? -1 : a > b ? 1 : 0)
  );
}

function firstWildcard(pattern: string): number {
  const plus = /(?:^|\/)\+(?=\/|$)/.exec(pattern);
  return plus ? plus.index + plus[0].length - 1 : pattern.length - 1;
}

function plusCount(pattern: string): number {
  return pattern.split("/").filter((segment) => segment === "+").length;
}

function newNode(): Node {
  return { children: new Map(), plus: undefined, end: undefined, partials: new Map(), partialLengths: [] };
}

function insert(root: Node, pattern: Pattern): void {
  const segments = pattern.permissions.pattern.split("/");
  const last = segments.at(-1) ?? "";
  const partial = last.endsWith("*") ? last.slice(0, -1) : undefined;
  const node = (partial === undefined ? segments : segments.slice(0, -1)).reduce(descend, root);
  if (partial === undefined) {
    node.end = pattern;
    return;
  }
  node.partials.set(partial, pattern);
  node.partialLengths = [...new Set([...node.partialLengths, partial.length])].sort((a, b) => b - a);
}

function descend(node: Node, segment: string): Node {
  if (segment === "+") {
    node.plus ??= newNode();
    return node.plus;
  }
  const child = node.children.get(segment) ?? newNode();
  node.children.set(segment, child);
  return child;
}

/** Visits each node at most once, since every node has one parent. */
function bestOf(node: Node, segments: readonly string[], at: number, best: Pattern | undefined): Pattern | undefined {
  const segment = segments[at];
  if (segment === undefined) return better(best, node.end);
  let found = better(best, partialOf(node, segment));
  const child = node.children.get(segment);
  if (child) found = bestOf(child, segments, at + 1, found);
  return node.plus ? bestOf(node.plus, segments, at + 1, found) : found;
}

/** The longest is the one of the highest rank among those of one node. */
function partialOf(node: Node, segment: string): Pattern | undefined {
  for (const length of node.partialLengths) {
    if (length > segment.length) continue;
    const found = node.partials.get(segment.slice(0, length));
    if (found) return found;
  }
  return undefined;
}

function better(a: Pattern | undefined, b: Pattern | undefined): Pattern | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return b.rank > a.rank ? b : a;
}
