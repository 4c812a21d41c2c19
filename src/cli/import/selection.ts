// What of everything is imported: "kind" or "kind:path", where * stands for any characters. Pure.
import { CofferError } from "#common/errors.ts";
import { matchesGlob } from "#common/glob.ts";

export interface Selection {
  /** Whether anything of a kind may be chosen, so that it has to be looked at. */
  takesKind(kind: string): boolean;
  takes(kind: string, path: string): boolean;
}

/** Everything that is included (all, when nothing is named) and not excluded. Throws for a kind that there is not. */
export function selectionOf(
  include: readonly string[],
  exclude: readonly string[],
  kinds: readonly string[],
): Selection {
  const [wanted, unwanted] = [include, exclude].map((rules) => rules.map((rule) => ruleOf(rule, kinds)));
  const isIn = (rules: readonly Rule[] = [], kind: string, path: string) =>
    rules.some((rule) => rule.kind === kind && matchesGlob(rule.path, path));
  return {
    takesKind: (kind) =>
      (include.length === 0 || wanted?.some((rule) => rule.kind === kind) === true) &&
      unwanted?.some((rule) => rule.kind === kind && rule.path === "*") !== true,
    takes: (kind, path) => (include.length === 0 || isIn(wanted, kind, path)) && !isIn(unwanted, kind, path),
  };
}

interface Rule {
  readonly kind: string;
  readonly path: string;
}

function ruleOf(text: string, kinds: readonly string[]): Rule {
  const colon = text.indexOf(":");
  const kind = colon < 0 ? text : text.slice(0, colon);
  if (kinds.includes(kind)) return { kind, path: colon < 0 ? "*" : text.slice(colon + 1) };
  throw new CofferError("invalid_request", `there is no kind "${kind}" to import; the kinds are ${kinds.join(", ")}`);
}
