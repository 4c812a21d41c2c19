// Pieces of a policy's text that several of its parsers read: lists of words, known keys, durations. The texts of
// errors are the ones clients know.
import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { unknownItems } from "#common/hcl/parser.ts";
import { type HclObject, type HclValue, keyOf, toJson } from "#common/hcl/syntax-tree.ts";

/** Known elsewhere, with an effect that nobody would have here. */
const REFUSED_KEYS = ["mfa_methods"];

/** The last value of a key, or undefined. */
export function valueAt(body: HclObject, key: string): HclValue | undefined {
  return body.items.findLast((item) => keyOf(item).text === key)?.value;
}

export function texts(path: string, key: string, value: HclValue | undefined): readonly string[] {
  if (value === undefined || value.kind === "null") return [];
  const values = value.kind === "list" ? value.values : [value];
  return values.map((each) => {
    if (each.kind === "string") return each.value;
    throw invalid(`path ${JSON.stringify(path)}: ${key} must be a list of strings`);
  });
}

/** Seconds of a duration such as "1h" or 3600; 0 without one. */
export function duration(key: string, value: HclValue | undefined): number {
  if (value === undefined || value.kind === "null") return 0;
  const seconds =
    value.kind === "string" ? parseDurationSeconds(value.value) : value.kind === "number" ? value.value : undefined;
  if (seconds === undefined)
    throw invalid(`error parsing ${key}: time: invalid duration ${JSON.stringify(toJson(value))}`);
  if (seconds < 0) throw invalid(`error parsing ${key}: it cannot be negative`);
  // Less than a second must not become 0, which means no limit.
  return seconds === 0 && value.kind === "string" && /[1-9]/.test(value.value) ? 1 : Math.ceil(seconds);
}

/** Unknown keys come in the shape of a Go multierror; the line is the one of the "=", 0 for a block. */
export function assertKnown(object: HclObject, known: readonly string[], prefix: string): void {
  const unknown = unknownItems(object, known);
  if (unknown.length === 0) return;
  const refused = unknown.find((item) => REFUSED_KEYS.includes(keyOf(item).text));
  if (refused) throw invalid(`${prefix}${keyOf(refused).text} is not supported; leaving it out would widen the rule`);
  const problems = unknown.map(
    (item) => `\t* ${prefix}invalid key ${JSON.stringify(keyOf(item).text)} on line ${item.assignLine}\n`,
  );
  throw invalid(`${problems.length} error${problems.length === 1 ? "" : "s"} occurred:\n${problems.join("")}\n`);
}

export function invalid(problem: string): CofferError {
  return new CofferError("invalid_request", problem);
}
