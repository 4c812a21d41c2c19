// OpenAPI 3.0.2 documents (https://spec.openapis.org/oas/v3.0.2) from path definitions. Knows no mounts: whoever asks
// says below which path a backend's own paths stand.
import type { JsonObject, JsonValue } from "#common/json.ts";
import type { Field } from "../framework/fields.ts";
import type { Path } from "../framework/path.ts";

export const OPENAPI_VERSION = "3.0.2";

/** Where a backend's paths stand in a document. */
export interface OpenApiMount {
  /** Without a leading slash, with one at the end; may hold "{name}" parameters. */
  readonly prefix: string;
  /** Parameters of the prefix itself. */
  readonly parameters?: readonly JsonObject[];
  /** Groups operations for people. */
  readonly tag: string;
}

type AnyPath<C> = Pick<
  Path<C>,
  "pattern" | "summary" | "description" | "access" | "when" | "freeForm" | "fields" | "operations"
>;

const METHODS = { read: "get", list: "get", scan: "get", update: "post", patch: "patch", delete: "delete" } as const;
const RESPONSES: JsonObject = { "200": { description: "OK" }, "204": { description: "Done, nothing to tell." } };

/** Collects paths into one document. Of two paths that are the same but for names of parameters the first stands. */
export class OpenApiDocument {
  readonly #paths: Record<string, JsonObject> = {};
  readonly #shapes = new Set<string>();
  readonly #operationIds = new Set<string>();

  add<C>(mount: OpenApiMount, path: AnyPath<C>): void {
    const key = `/${mount.prefix}${templateOf(path.pattern)}`;
    const shape = key.replace(/\{[^}]*\}/g, "{}");
    if (this.#shapes.has(shape)) return;
    this.#shapes.add(shape);
    this.#paths[key] = this.#pathItem(mount, path, key);
  }

  toJson(info: { readonly version: string }): JsonObject {
    return {
      openapi: OPENAPI_VERSION,
      info: {
        title: "Coffer",
        description: "HTTP API of this server, made from its path definitions.",
        version: info.version,
        license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
      },
      servers: [{ url: "/v1" }],
      paths: this.#paths,
    };
  }

  #pathItem<C>(mount: OpenApiMount, path: AnyPath<C>, key: string): JsonObject {
    const parameters = [...(mount.parameters ?? []), ...pathParameters(path)];
    const item: Record<string, JsonValue> = {
      description: path.description,
      ...(parameters.length > 0 && { parameters }),
      ...(path.access === "sudo" && { "x-vault-sudo": true }),
      ...(path.access === "public" && { "x-vault-unauthenticated": true }),
      ...(path.operations.has("create") && path.operations.has("update") && { "x-vault-createSupported": true }),
    };
    for (const [operation, summary] of path.operations) {
      if (operation === "create" || operation === "help") continue;
      const method = METHODS[operation];
      const before = item[method];
      if (before !== undefined && operation !== "read") continue; // GET of a path that is read and listed is the read
      item[method] = {
        operationId: this.#operationId(`${operation}-${key}`),
        summary,
        tags: [mount.tag],
        ...queryParameters(path, operation),
        ...bodyOf(path, operation),
        responses: RESPONSES,
      };
    }
    return item;
  }

  #operationId(text: string): string {
    const id = text.replace(/[^A-Za-z0-9]+/g, "-").replace(/-$/, "");
    let unique = id;
    for (let i = 2; this.#operationIds.has(unique); i++) unique = `${id}-${i}`;
    this.#operationIds.add(unique);
    return unique;
  }
}

/** ":name*" of a pattern is "{name}" of a template. */
export function templateOf(pattern: string): string {
  return pattern.replace(/:(\w+)[*?]?/g, "{$1}");
}

function parameterNames(pattern: string): readonly string[] {
  return [...pattern.matchAll(/:(\w+)/g)].map(([, name = ""]) => name);
}

function pathParameters<C>({ pattern, fields }: AnyPath<C>): readonly JsonObject[] {
  return parameterNames(pattern).map((name) => ({
    name,
    in: "path",
    required: true,
    description: fields[name]?.description ?? "Part of the path.",
    schema: { type: "string" },
  }));
}

/** What comes in the query: how to list, and a page; the fields of reads and deletes. */
function queryParameters<C>(path: AnyPath<C>, operation: keyof typeof METHODS): JsonObject {
  const parameters: JsonObject[] = [];
  const isGet = METHODS[operation] === "get";
  // One GET stands for all three: reading, listing and scanning.
  const kinds = isGet ? (["list", "scan"] as const).filter((kind) => path.operations.has(kind)) : [];
  if (kinds.length > 0) {
    for (const name of kinds)
      parameters.push({
        name,
        in: "query",
        description: `Must be set to \`true\` to ${name}.`,
        ...(!path.operations.has("read") && kinds.length === 1 && { required: true }),
        schema: { type: "string", enum: ["true"] },
      });
    parameters.push({ name: "after", in: "query", description: "Names after this one.", schema: { type: "string" } });
    parameters.push({ name: "limit", in: "query", description: "Names at most.", schema: { type: "integer" } });
  }
  if ((operation === "read" || operation === "delete") && !path.operations.has("update"))
    parameters.push(...fieldParameters(path));
  return parameters.length > 0 ? { parameters } : {};
}

function fieldParameters<C>({ pattern, fields }: AnyPath<C>): readonly JsonObject[] {
  const taken = new Set([...parameterNames(pattern), "list", "scan", "after", "limit"]);
  return Object.entries(fields)
    .filter(([name]) => !taken.has(name))
    .map(([name, field]) => ({ name, in: "query", description: field.description, schema: schemaOf(field) }));
}

function bodyOf<C>(path: AnyPath<C>, operation: keyof typeof METHODS): JsonObject {
  if (operation !== "update" && operation !== "patch") return {};
  const names = new Set(parameterNames(path.pattern));
  const properties = Object.entries(path.fields)
    .filter(([name]) => !names.has(name))
    .map(([name, field]) => [name, { ...schemaOf(field), description: field.description }]);
  const type = operation === "patch" ? "application/merge-patch+json" : "application/json";
  const schema = {
    type: "object",
    ...(properties.length > 0 && { properties: Object.fromEntries(properties) }),
    ...(path.freeForm && { additionalProperties: true }),
  };
  return { requestBody: { content: { [type]: { schema } } } };
}

function schemaOf(field: Field<unknown>): JsonObject {
  return {
    ...(field.type !== "any" && { type: field.type }),
    ...(field.type === "array" && { items: { type: "string" } }),
    ...(field.format !== undefined && { format: field.format }),
    ...(field.default !== undefined && field.default !== null && { default: field.default }),
    ...(field.deprecated && { deprecated: true }),
  };
}
