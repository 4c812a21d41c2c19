// Structural rules of OpenAPI 3.0.2 (https://spec.openapis.org/oas/v3.0.2) that a document must keep for generators of
// clients to take it. Written from the specification; knows only the parts of it that a REST API without components has.
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
const ITEM_MEMBERS = ["summary", "description", "servers", "parameters", ...METHODS];
const OPERATION_MEMBERS = [
  ...["tags", "summary", "description", "operationId", "parameters", "requestBody", "responses", "deprecated"],
  ...["security", "servers", "callbacks", "externalDocs"],
];
const TYPES = ["string", "number", "integer", "boolean", "array", "object"];
const DEFAULT_TYPES: Readonly<Record<string, (value: JsonValue) => boolean>> = {
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: (value) => Number.isInteger(value),
  boolean: (value) => typeof value === "boolean",
  array: isJsonArray,
  object: isJsonObject,
};

/** What is wrong with a document, each with its place; empty for a valid one. */
export function validateOpenApi(document: JsonValue): readonly string[] {
  const faults: string[] = [];
  if (!isJsonObject(document)) return ["the document is not an object"];
  if (!/^3\.0\.\d+$/.test(String(document["openapi"]))) faults.push("openapi: not 3.0.x");
  const info = objectOf(document["info"]);
  for (const name of ["title", "version"]) if (typeof info[name] !== "string") faults.push(`info.${name}: missing`);
  if (!isJsonObject(document["paths"])) return [...faults, "paths: missing"];
  const seen = { ids: new Set<string>(), shapes: new Set<string>() };
  for (const [path, item] of Object.entries(document["paths"])) checkItem(path, item, seen, faults);
  return faults;
}

interface Seen {
  readonly ids: Set<string>;
  readonly shapes: Set<string>;
}

function checkItem(path: string, item: JsonValue, seen: Seen, faults: string[]): void {
  if (!path.startsWith("/")) faults.push(`${path}: does not begin with a slash`);
  if (/[?#]/.test(path)) faults.push(`${path}: has a query`);
  const shape = path.replace(/\{[^}]*\}/g, "{}");
  if (seen.shapes.has(shape)) faults.push(`${path}: the same path stands there with other names of parameters`);
  seen.shapes.add(shape);
  if (!isJsonObject(item)) return void faults.push(`${path}: not an object`);
  const common = checkParameters(path, item["parameters"], faults);
  for (const [name, value] of Object.entries(item)) {
    if (METHODS.includes(name)) checkOperation(path, name, value, { common, seen, faults });
    else if (!ITEM_MEMBERS.includes(name) && !name.startsWith("x-")) faults.push(`${path}: unknown member ${name}`);
  }
}

interface OperationCheck {
  readonly common: readonly string[];
  readonly seen: Seen;
  readonly faults: string[];
}

function checkOperation(
  path: string,
  method: string,
  value: JsonValue,
  { common, seen, faults }: OperationCheck,
): void {
  const where = `${method} ${path}`;
  if (!isJsonObject(value)) return void faults.push(`${where}: not an object`);
  for (const name of Object.keys(value))
    if (!OPERATION_MEMBERS.includes(name) && !name.startsWith("x-")) faults.push(`${where}: unknown member ${name}`);
  const id = value["operationId"];
  if (typeof id !== "string" || !/^[A-Za-z][A-Za-z0-9_-]*$/.test(id))
    faults.push(`${where}: operationId ${String(id)}`);
  else if (seen.ids.has(id)) faults.push(`${where}: operationId ${id} is there twice`);
  else seen.ids.add(id);
  const own = checkParameters(where, value["parameters"], faults);
  const declared = new Set([...common, ...own]);
  const named = [...path.matchAll(/\{([^}]*)\}/g)].map(([, name]) => `path ${name}`);
  for (const name of named) if (!declared.has(name)) faults.push(`${where}: ${name} is not declared`);
  for (const name of declared)
    if (name.startsWith("path ") && !named.includes(name)) faults.push(`${where}: ${name} is not in the path`);
  checkResponses(where, value["responses"], faults);
  if (value["requestBody"] !== undefined) checkBody(where, value["requestBody"], faults);
}

function checkParameters(where: string, value: JsonValue | undefined, faults: string[]): readonly string[] {
  if (value === undefined) return [];
  if (!isJsonArray(value)) {
    faults.push(`${where}: parameters is not a list`);
    return [];
  }
  const found: string[] = [];
  for (const item of value) {
    const parameter = objectOf(item);
    const name = `${String(parameter["in"])} ${String(parameter["name"])}`;
    if (!/^(path|query|header|cookie) ./.test(name)) faults.push(`${where}: parameter ${name}`);
    if (found.includes(name)) faults.push(`${where}: parameter ${name} is there twice`);
    if (parameter["in"] === "path" && parameter["required"] !== true) faults.push(`${where}: ${name} must be required`);
    checkSchema(`${where}: ${name}`, parameter["schema"], faults);
    found.push(name);
  }
  return found;
}

function checkResponses(where: string, value: JsonValue | undefined, faults: string[]): void {
  const responses = Object.entries(objectOf(value));
  if (responses.length === 0) faults.push(`${where}: no responses`);
  for (const [status, response] of responses) {
    if (!/^([1-5](\d\d|XX)|default)$/.test(status)) faults.push(`${where}: response ${status}`);
    if (typeof objectOf(response)["description"] !== "string") faults.push(`${where}: ${status} has no description`);
  }
}

function checkBody(where: string, value: JsonValue, faults: string[]): void {
  const content = Object.entries(objectOf(objectOf(value)["content"]));
  if (content.length === 0) faults.push(`${where}: a body without content`);
  for (const [type, media] of content) checkSchema(`${where}: ${type}`, objectOf(media)["schema"], faults);
}

function checkSchema(where: string, value: JsonValue | undefined, faults: string[]): void {
  if (!isJsonObject(value)) return void faults.push(`${where}: no schema`);
  const { type, items, properties } = value;
  if (type !== undefined && !TYPES.includes(String(type))) faults.push(`${where}: type ${String(type)}`);
  if (type === "array") checkSchema(`${where}[]`, items, faults);
  const fallback = value["default"];
  if (fallback !== undefined && typeof type === "string" && DEFAULT_TYPES[type]?.(fallback) === false)
    faults.push(`${where}: the default ${JSON.stringify(fallback)} is no ${type}`);
  for (const [name, member] of Object.entries(objectOf(properties))) checkSchema(`${where}.${name}`, member, faults);
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}
