// `{{variable}}` in the paths of a policy. A value that could widen a rule (a wildcard, a slash, nothing at all) is
// refused unless the policy says that it wants such values: the rule is left out, as it is when the variable has no
// value.
import { CofferError } from "#common/errors.ts";
import type { ParsedPolicy, PolicyRule, TemplateValues } from "./parsed-policy.ts";

const OPEN = "{{";
const CLOSE = "}}";

/** Text and variables in turn: even places are text, odd ones the names of variables. */
function split(path: string): readonly string[] {
  const [head = "", ...rest] = path.split(OPEN);
  const parts = [head];
  for (const piece of rest) {
    const [variable = "", tail, ...more] = piece.split(CLOSE);
    if (tail === undefined || more.length > 0) throw unbalanced();
    parts.push(variable.trim(), tail);
  }
  if (head.includes(CLOSE)) throw unbalanced();
  return parts;
}

function unbalanced(): CofferError {
  return new CofferError("invalid_request", "unbalanced templating characters");
}

/** The variables of a path. Throws `invalid_request` when the braces do not match or hold nothing. */
export function variablesOf(path: string): readonly string[] {
  if (!path.includes(OPEN) && !path.includes(CLOSE)) return [];
  const variables = split(path).filter((_part, index) => index % 2 === 1);
  if (variables.includes("")) throw new CofferError("invalid_request", "a template without the name of a variable");
  return variables;
}

/** True when a path holds templates, and so is no path yet. */
export function hasTemplate(path: string): boolean {
  return path.includes(OPEN);
}

/**
 * The policy for one caller. `resolve` gets a variable's name ("identity.entity.id") and answers its value, or
 * undefined. Rules whose variables have no usable value are left out.
 */
export function applyTemplates(policy: ParsedPolicy, resolve: (variable: string) => string | undefined): ParsedPolicy {
  if (policy.variables.length === 0) return policy;
  const rules = policy.rules.flatMap((rule): readonly PolicyRule[] => {
    if (!hasTemplate(rule.path)) return [rule];
    const path = fill(rule.path, resolve, policy.templateValues ?? PLAIN);
    return path === undefined ? [] : [{ ...rule, path }];
  });
  return { name: policy.name, rules, variables: [] };
}

const PLAIN: TemplateValues = { wildcards: false, slashes: false };

function fill(
  path: string,
  resolve: (variable: string) => string | undefined,
  allowed: TemplateValues,
): string | undefined {
  let filled = "";
  for (const [index, part] of split(path).entries()) {
    const text = index % 2 === 0 ? part : resolve(part);
    if (text === undefined || (index % 2 === 1 && !isSafeValue(text, allowed))) return undefined;
    filled += text;
  }
  // What a policy's text may not say, no value makes it say.
  return filled.includes("+*") ? undefined : filled;
}

/** Wildcards and slashes would make the rule match more than its author meant; so would braces and an empty value. */
function isSafeValue(value: string, { wildcards, slashes }: TemplateValues): boolean {
  if (value === "" || /[{}]/.test(value)) return false;
  return (wildcards || !/[*+]/.test(value)) && (slashes || !value.includes("/"));
}
