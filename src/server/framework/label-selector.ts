// Kubernetes' label selectors: reading one and asking whether labels match it
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors).
import { CofferError, messageOf } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { type Infer, list, map, object, oneOf, string, withDefault } from "#common/schema.ts";

/** A selector of a hundred terms is a mistake; an API server takes no longer one in an object's annotation either. */
export const SELECTOR_BYTES_MAX = 8 * 1024;

const selectorSchema = object({
  matchLabels: withDefault(map(string), {}),
  matchExpressions: withDefault(
    list(
      object({
        key: string,
        operator: oneOf("In", "NotIn", "Exists", "DoesNotExist"),
        values: withDefault(list(string), []),
      }),
    ),
    [],
  ),
});
export type LabelSelector = Infer<typeof selectorSchema>;
type Expression = LabelSelector["matchExpressions"][number];

/** Reads a selector as JSON or YAML. Throws `invalid_request`; `name` is the field's in the message. */
export async function parseLabelSelector(name: string, text: string): Promise<LabelSelector> {
  if (Buffer.byteLength(text) > SELECTOR_BYTES_MAX) throw invalid(name, `is longer than ${SELECTOR_BYTES_MAX} bytes`);
  const value = await documentOf(name, text);
  const unknown = Object.keys(value).find((key) => key !== "matchLabels" && key !== "matchExpressions");
  // A term that is not understood would be one that does not hold anybody back.
  if (unknown !== undefined) throw invalid(name, `has no member ${JSON.stringify(unknown)}`);
  const selector = selectorSchema.parse(value, name);
  for (const expression of selector.matchExpressions) assertExpression(name, expression);
  return selector;
}

async function documentOf(name: string, text: string): Promise<JsonObject> {
  const value = text.trimStart().startsWith("{") ? asJson(text) : undefined;
  if (isJsonObject(value)) return value;
  // Only who writes YAML pays for its parser.
  const { parse } = await import("yaml");
  try {
    // What YAML has and JSON has not (dates, maps of maps as keys) does not come through this unharmed, and is refused.
    const plain: JsonValue = parseJson(JSON.stringify(parse(text)) ?? "null");
    if (isJsonObject(plain)) return plain;
  } catch (error) {
    throw invalid(name, `is neither JSON nor YAML: ${messageOf(error)}`);
  }
  throw invalid(name, 'is no selector, such as {"matchLabels": {"team": "a"}}');
}

function asJson(text: string): JsonValue | undefined {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

function assertExpression(name: string, { key, operator, values }: Expression): void {
  const wantsValues = operator === "In" || operator === "NotIn";
  if (wantsValues === values.length > 0) return;
  throw invalid(name, `${operator} of ${JSON.stringify(key)} wants ${wantsValues ? "values" : "no values"}`);
}

export function matchesLabels(
  { matchLabels, matchExpressions }: LabelSelector,
  labels: Readonly<Record<string, string>>,
): boolean {
  const held = new Map(Object.entries(labels));
  return (
    Object.entries(matchLabels).every(([key, value]) => held.get(key) === value) &&
    matchExpressions.every((expression) => holds(expression, held.get(expression.key)))
  );
}

function holds({ operator, values }: Expression, value: string | undefined): boolean {
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

function invalid(name: string, problem: string): CofferError {
  return new CofferError("invalid_request", `${name} ${problem}`);
}
