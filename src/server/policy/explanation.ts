// Why a request is allowed or refused, for people: which rule of which policy at which line decided, and what would
// have to be granted. Pure; says the same as `check`, because it asks `check`.
import type { Operation } from "../framework/context.ts";
import type { Acl } from "./acl.ts";
import type { AccessRequest, Decision, Refusal, RuleSource } from "./permissions.ts";

export interface Explanation {
  readonly allowed: boolean;
  /** A sentence. */
  readonly reason: string;
  /** The pattern that decided; "" when none matched. */
  readonly rule: string;
  readonly sources: readonly RuleSource[];
  /** Why not; undefined when it is allowed or lacks sudo alone. */
  readonly refusal?: Refusal | undefined;
  /** True when a permission boundary refuses. */
  readonly isBoundary?: boolean;
  /** What would have to be granted; empty when it is allowed or a grant would not help. */
  readonly needed: readonly { readonly path: string; readonly capability: string }[];
}

/** `parts`: the policies' own ACL, then one per boundary. `needsSudo`: the path asks for it. */
export function explain(parts: readonly Acl[], request: AccessRequest, needsSudo: boolean): Explanation {
  for (const [index, acl] of parts.entries()) {
    const decision = acl.check(request);
    const lacksSudo = decision.allowed && needsSudo && !decision.sudo;
    if (decision.allowed && !lacksSudo) continue;
    const found = { acl, decision, lacksSudo, isBoundary: index > 0 };
    return refusalOf(found, request);
  }
  const own = parts[0];
  const decision = own?.check(request);
  const all = parts.map((acl) => acl.check(request));
  const controlled = all.some((each) => each.controlGroup);
  const isFiltered = isList(request.operation) && all.some((each) => each.listFilters);
  return {
    allowed: true,
    reason: decision?.isRoot
      ? "a root token may do everything"
      : `granted by ${listed(decision?.grantingPolicies ?? [])}${controlled ? ", after approval by a control group" : ""}${isFiltered ? "; the list shows what may be read" : ""}`,
    rule: decision?.rule ?? "",
    sources: own?.sources(request) ?? [],
    needed: [],
  };
}

interface Refused {
  readonly acl: Acl;
  readonly decision: Decision;
  readonly lacksSudo: boolean;
  readonly isBoundary: boolean;
}

function refusalOf({ acl, decision, lacksSudo, isBoundary }: Refused, request: AccessRequest): Explanation {
  const whose = isBoundary ? "the permission boundary" : "the token's policies";
  const why = lacksSudo
    ? "the path needs sudo, which the deciding rule does not grant"
    : REASONS[decision.refusal ?? "no-rule"];
  const helps =
    lacksSudo || decision.refusal === undefined || decision.refusal === "no-rule" || decision.refusal === "capability";
  return {
    allowed: false,
    refusal: decision.refusal,
    isBoundary,
    reason: `refused by ${whose}: ${why}`,
    rule: decision.rule ?? "",
    sources: acl.sources(request),
    needed: helps ? neededFor(request, lacksSudo) : [],
  };
}

const REASONS: Readonly<Record<Refusal, string>> = {
  "no-rule": "no rule matches the path",
  denied: "a matching rule says deny, which wins over every grant",
  capability: "the deciding rule does not grant this operation",
  wrapping: "the wrapping TTL is outside of what the deciding rule allows",
  parameters: "a parameter of the request is not allowed, is denied, or a required one is missing",
  pagination: "the list asks for more keys than the deciding rule allows",
  boundary: "the boundary does not allow it",
};

const CAPABILITY: Partial<Record<Operation, string>> = { help: "read" };

function neededFor(request: AccessRequest, lacksSudo: boolean): Explanation["needed"] {
  const operation = CAPABILITY[request.operation] ?? request.operation;
  const path = isList(request.operation) && !request.path.endsWith("/") ? `${request.path}/` : request.path;
  return lacksSudo ? [{ path, capability: "sudo" }] : [{ path, capability: operation }];
}

function isList(operation: Operation): boolean {
  return operation === "list" || operation === "scan";
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "no policy" : `policy ${names.join(", ")}`;
}
