// `list_scan_response_keys_filter_path` of a rule: a list shows those of its keys alone that its caller may read, or list
// where they are folders. Which path a key stands for is said by a template as clients of OpenBao know it
// (https://openbao.org/docs/rfcs/filtering-list): `.path` is the list's own path with its slash, `.key` the key.
//
//   {{ .path | replace "secret/metadata/" "secret/data/" }}{{ .key }}
//
// Functions are replace, lowercase and uppercase; what else a template says is refused when the policy is written.
import type { AccessRequest } from "./permissions.ts";
import { invalid } from "./policy-text.ts";

/** Longer ones are no path. */
export const FILTER_LENGTH_MAX = 2_048;

export interface ListFilter {
  /** As it stands in the policy. */
  readonly text: string;
  /** The path that a key stands for. */
  pathOf(listPath: string, key: string): string;
}

type Variables = Readonly<Record<".path" | ".key", string>>;
type Part = (variables: Variables) => string;

/** Throws `invalid_request` for a template that says anything else than it may. */
export function parseListFilter(path: string, text: string): ListFilter {
  const refuse = (problem: string): never => {
    throw invalid(`path ${JSON.stringify(path)}: list_scan_response_keys_filter_path ${problem}`);
  };
  if (text.length > FILTER_LENGTH_MAX) refuse(`is longer than ${FILTER_LENGTH_MAX} characters`);
  const pieces = text.split(/\{\{(.*?)\}\}/s);
  const parts = pieces.map((piece, index): Part => {
    if (index % 2 === 1) return parsePipeline(piece, refuse);
    if (piece.includes("{{") || piece.includes("}}")) refuse("has braces that do not match");
    return () => piece;
  });
  if (!pieces.some((piece, index) => index % 2 === 1 && piece.includes(".key"))) refuse("does not say {{ .key }}");
  return {
    text,
    pathOf: (listPath, key) => {
      const variables = { ".path": listPath.endsWith("/") ? listPath : `${listPath}/`, ".key": key };
      return parts.map((part) => part(variables)).join("");
    },
  };
}

/** `.key`, `.path | replace "a" "b" | lowercase`, `replace "a" "b" .path`. */
function parsePipeline(text: string, refuse: (problem: string) => never): Part {
  const words = text.match(/"(?:[^"\\]|\\.)*"|\||[^\s|"]+/gs) ?? [];
  if (words.join("").replace(/\s/g, "") !== text.replace(/\s/g, "")) refuse(`cannot read ${JSON.stringify(text)}`);
  const stages: string[][] = [[]];
  for (const word of words) {
    if (word === "|") stages.push([]);
    else stages.at(-1)?.push(word);
  }
  const [first = [], ...rest] = stages;
  const subject = first.at(-1);
  if (subject !== ".path" && subject !== ".key") return refuse(`wants .path or .key in ${JSON.stringify(text)}`);
  const applied = [...(first.length > 1 ? [first.slice(0, -1)] : []), ...rest].map((stage) =>
    functionOf(stage, refuse),
  );
  return (variables) => applied.reduce((value, apply) => apply(value), variables[subject]);
}

function functionOf(
  [name = "", ...args]: readonly string[],
  refuse: (problem: string) => never,
): (value: string) => string {
  const texts = args.map((arg) => textOf(arg, refuse));
  const [from, to] = texts;
  if (name === "replace" && texts.length === 2 && from !== undefined && to !== undefined)
    return (value) => value.replaceAll(from, () => to);
  if (name === "lowercase" && texts.length === 0) return (value) => value.toLowerCase();
  if (name === "uppercase" && texts.length === 0) return (value) => value.toUpperCase();
  return refuse(`cannot do ${JSON.stringify([name, ...args].join(" "))}; it knows replace, lowercase and uppercase`);
}

function textOf(word: string, refuse: (problem: string) => never): string {
  if (!/^".+"$|^""$/s.test(word)) return refuse(`wants a text in quotes, not ${word}`);
  return word.slice(1, -1).replace(/\\(.)/gs, "$1");
}

/** The keys that their caller may read, or list where they are folders; all filters must let a key through. */
export function visibleKeys(
  acl: { check(request: AccessRequest): { readonly allowed: boolean } },
  filters: readonly ListFilter[],
  listPath: string,
  keys: readonly string[],
): readonly string[] {
  return keys.filter((key) =>
    filters.every((filter) => {
      const operation = key.endsWith("/") ? "list" : "read";
      return acl.check({ operation, path: filter.pathOf(listPath, key) }).allowed;
    }),
  );
}
