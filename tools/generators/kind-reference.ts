// The reference pages of the kinds: a short example, every field with its type, default and limits, columns, conditions.
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { definitions } from "#operator/api/registry.ts";
import { API_VERSION, type Definition } from "#operator/api/resource.ts";
import type { Generator } from "./generator.ts";
import { pageHead, type Row, table } from "./markdown.ts";

function member(schema: JsonObject, name: string): JsonObject | undefined {
  const value = schema[name];
  return isJsonObject(value) ? value : undefined;
}

function typeOf(schema: JsonObject): string {
  const items = member(schema, "items");
  const values = member(schema, "additionalProperties");
  if (items) return `list of ${typeOf(items)}`;
  if (values) return `map of ${typeOf(values)}`;
  if (schema["x-kubernetes-int-or-string"] === true) return "quantity";
  if (isJsonArray(schema["enum"])) return schema["enum"].map((word) => `\`${String(word)}\``).join(", ");
  return typeof schema["type"] === "string" ? schema["type"] : "any";
}

function limits(schema: JsonObject): string {
  const rules = isJsonArray(schema["x-kubernetes-validations"]) ? schema["x-kubernetes-validations"] : [];
  const sentences = rules.flatMap((rule) =>
    isJsonObject(rule) && typeof rule["message"] === "string" ? [`${rule["message"]}.`] : [],
  );
  const bounds: readonly [string, string][] = [
    ["maxLength", "characters"],
    ["maxItems", "items"],
    ["maxProperties", "members"],
  ];
  const most = bounds.flatMap(([name, unit]) =>
    typeof schema[name] === "number" ? [`At most ${schema[name]} ${unit}.`] : [],
  );
  const { minimum, maximum } = schema;
  const range = typeof minimum === "number" && typeof maximum === "number" ? [`${minimum} to ${maximum}.`] : [];
  return [...most, ...range, ...sentences].join(" ");
}

function defaultOf(schema: JsonObject, required: boolean): string {
  const value: JsonValue | undefined = schema["default"];
  if (value !== undefined) return `\`${JSON.stringify(value)}\``;
  return required ? "required" : "";
}

/** A row for the field and rows for all below it. */
function rowsOf(path: string, schema: JsonObject, required: boolean): readonly Row[] {
  const description = typeof schema["description"] === "string" ? schema["description"] : "";
  const row = [`\`${path}\``, typeOf(schema), defaultOf(schema, required), `${description} ${limits(schema)}`.trim()];
  const inner = member(schema, "items") ?? member(schema, "additionalProperties") ?? schema;
  const suffix = member(schema, "items") ? "[]" : "";
  const needed = isJsonArray(inner["required"]) ? inner["required"] : [];
  const members = Object.entries(member(inner, "properties") ?? {});
  return [
    row,
    ...members.flatMap(([name, below]) =>
      isJsonObject(below) ? rowsOf(`${path}${suffix}.${name}`, below, needed.includes(name)) : [],
    ),
  ];
}

function page(definition: Definition<unknown, unknown>): string {
  const heads = ["Field", "Type", "Default", "Meaning"];
  const pairs = (entries: Readonly<Record<string, string>>) =>
    Object.entries(entries).map(([name, meaning]) => [`\`${name}\``, meaning]);
  return `${pageHead(definition.kind, "src/operator/api")}${definition.description}

\`${API_VERSION}\`, namespaced, short name \`${definition.shortName}\`, category \`coffer\`.

\`\`\`yaml
${definition.example}\`\`\`

## Spec

${table(heads, rowsOf("spec", definition.spec.openapi, true))}
## Status

${table(heads, rowsOf("status", definition.status.openapi, false))}
## Conditions

${table(["Condition", "Meaning"], pairs(definition.conditions))}
## Reasons

${table(["Reason", "Meaning"], pairs(definition.reasons))}
## Columns of \`kubectl get\`

${table(
  ["Column", "Meaning"],
  definition.columns.map((c) => [c.priority ? `${c.name} (-o wide)` : c.name, c.description]),
)}`;
}

export const kindReferenceGenerator: Generator = {
  name: "kind-reference",
  files: () => new Map(definitions.map((d) => [`docs/reference/${d.kind.toLowerCase()}.md`, page(d)])),
};
