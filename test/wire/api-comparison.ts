// Holds the OpenAPI document of a server against paths.json, a recording of another server's: paths, methods, fields of
// bodies, query parameters, and what needs no token. Pure over the two documents.
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";

const METHODS = ["get", "post", "patch", "delete"] as const;

/** What the recording has and the document lacks, a line each: "path /a", "method post /a", "field post /a name", … */
export function missingFrom(document: JsonObject, recorded: JsonObject, isWanted: (path: string) => boolean) {
  const own = byShape(objectIn(document, "paths"));
  return Object.entries(recorded)
    .filter(([path]) => isWanted(path))
    .flatMap(([path, expected]) => missingAt(path, asObject(expected), own.get(shapeOf(path))))
    .sort();
}

function missingAt(path: string, expected: JsonObject, found: JsonObject | undefined): readonly string[] {
  if (!found) return [`path ${path}`];
  const lines: string[] = [];
  if (textsOf(expected["flags"]).includes("unauthenticated") && found["x-vault-unauthenticated"] !== true)
    lines.push(`public ${path}`);
  for (const method of METHODS) {
    const wanted = expected[method];
    const given = found[method];
    if (wanted === undefined) continue;
    if (given === undefined) lines.push(`method ${method} ${path}`);
    else lines.push(...missingIn(`${method} ${path}`, asObject(wanted), asObject(given), found));
  }
  return lines;
}

function missingIn(where: string, wanted: JsonObject, given: JsonObject, item: JsonObject): readonly string[] {
  const parameters = [...parameterNames(given), ...parameterNames(item)];
  const known = new Set([...parameters, ...bodyFields(given)]);
  const fields = Object.keys(objectIn(wanted, "body")).filter((name) => !known.has(name));
  const queries = textsOf(wanted["query"]).map((text) => text.split(":")[0] ?? "");
  return [
    ...fields.map((name) => `field ${where} ${name}`),
    ...queries.filter((name) => !parameters.includes(name)).map((name) => `query ${where} ${name}`),
  ];
}

/** Paths by their form: names of parameters and a slash at the end make no difference. */
function byShape(paths: JsonObject): ReadonlyMap<string, JsonObject> {
  return new Map(Object.entries(paths).map(([path, item]) => [shapeOf(path), asObject(item)]));
}

function shapeOf(path: string): string {
  return path.replace(/\{[^}]+\}/g, "{}");
}

function parameterNames({ parameters }: JsonObject): readonly string[] {
  return isJsonArray(parameters) ? parameters.map((each) => String(asObject(each)["name"])) : [];
}

function bodyFields(operation: JsonObject): readonly string[] {
  const content = objectIn(objectIn(operation, "requestBody"), "content");
  return Object.values(content).flatMap((each) =>
    Object.keys(objectIn(objectIn(asObject(each), "schema"), "properties")),
  );
}

function textsOf(value: JsonValue | undefined): readonly string[] {
  return isJsonArray(value) ? value.map(String) : [];
}

function objectIn(parent: JsonObject, name: string): JsonObject {
  return asObject(parent[name]);
}

function asObject(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}
