// Holds a value to a structural schema as the API server does before any CEL rule: types, required members, limits, and
// members that nobody knows (which `kubectl apply` refuses). Rules in CEL are for a real API server.
// kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";

/** What is wrong, as "path: sentence"; nothing when the value fits. */
export function violations(schema: JsonValue | undefined, value: JsonValue, path = ""): readonly string[] {
  if (!isJsonObject(schema)) return [`${path}: is not in the schema`];
  const type = schema["type"];
  if (type === "object") return isJsonObject(value) ? ofObject(schema, value, path) : [`${path}: must be an object`];
  if (type === "array") return isJsonArray(value) ? ofArray(schema, value, path) : [`${path}: must be a list`];
  return ofScalar(schema, value, path);
}

function ofObject(schema: JsonObject, value: JsonObject, path: string): readonly string[] {
  const { properties, additionalProperties, required } = schema;
  const needed = isJsonArray(required) ? required.map(String) : [];
  const missing = needed.filter((name) => !(name in value)).map((name) => `${path}.${name}: is required`);
  const known = isJsonObject(properties) ? properties : {};
  // The envelope's own members have schemas of Kubernetes, not of the CRD.
  if (properties === undefined && additionalProperties === undefined) return missing;
  const inner = Object.entries(value).flatMap(([name, member]) =>
    violations(known[name] ?? additionalProperties, member, `${path}.${name}`),
  );
  return [...missing, ...inner];
}

function ofArray(schema: JsonObject, value: readonly JsonValue[], path: string): readonly string[] {
  const { minItems = 0, maxItems, items } = schema;
  const isWithin = value.length >= Number(minItems) && value.length <= Number(maxItems ?? value.length);
  const size = isWithin ? [] : [`${path}: has ${value.length} items`];
  return [...size, ...value.flatMap((item, i) => violations(items, item, `${path}[${i}]`))];
}

function ofScalar(schema: JsonObject, value: JsonValue, path: string): readonly string[] {
  const { type, enum: words } = schema;
  if (schema["x-kubernetes-int-or-string"] === true)
    return typeof value === "string" || typeof value === "number" ? [] : [`${path}: must be a quantity`];
  const actual = type === "integer" && Number.isInteger(value) ? "integer" : typeof value;
  if (actual !== type) return [`${path}: must be of type ${String(type)}`];
  if (isJsonArray(words) && !words.includes(value)) return [`${path}: must be one of ${words.join(", ")}`];
  if (typeof value === "string") return ofText(schema, value, path);
  if (typeof value === "number") return ofNumber(schema, value, path);
  return [];
}

function ofText({ minLength = 0, maxLength }: JsonObject, value: string, path: string): readonly string[] {
  const isWithin = value.length >= Number(minLength) && value.length <= Number(maxLength ?? value.length);
  return isWithin ? [] : [`${path}: has ${value.length} characters`];
}

function ofNumber({ minimum, maximum }: JsonObject, value: number, path: string): readonly string[] {
  const isWithin = value >= Number(minimum ?? value) && value <= Number(maximum ?? value);
  return isWithin ? [] : [`${path}: ${value} is out of range`];
}
