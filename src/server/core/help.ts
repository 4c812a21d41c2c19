// Help from a path's definition: what `?help=1` answers, and one path of the OpenAPI document.
import type { JsonObject } from "#common/json.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import type { Path } from "../framework/path.ts";

export function describePath(path: Path<PrivilegedContext>): JsonObject {
  const fields = Object.entries(path.fields).map(
    ([name, field]) => `    ${name} (${field.type})\n        ${field.description}`,
  );
  const text = [
    `Request:        ${path.pattern}`,
    "",
    "## DESCRIPTION",
    "",
    path.description,
    "",
    "## PARAMETERS",
    "",
    ...fields,
  ];
  return {
    help: `${text.join("\n")}\n`,
    see_also: null,
    openapi: { openapi: "3.0.2", paths: { [`/${path.pattern}`]: openApiPath(path) } },
  };
}

const METHOD: Readonly<Record<string, string>> = {
  read: "get",
  update: "post",
  patch: "patch",
  delete: "delete",
  list: "get",
};

/** The path item object of OpenAPI 3.0.2 for a definition. */
export function openApiPath(path: Path<PrivilegedContext>): JsonObject {
  const item: Record<string, JsonObject> = {};
  for (const [operation, summary] of path.operations) {
    const method = METHOD[operation];
    if (method === undefined) continue;
    item[method] = {
      summary,
      ...(operation === "update" && { requestBody: { content: { "application/json": { schema: bodySchema(path) } } } }),
      responses: { "200": { description: "OK" } },
    };
  }
  return {
    description: path.description,
    ...(path.access === "sudo" && { "x-vault-sudo": true }),
    ...(path.access === "public" && { "x-vault-unauthenticated": true }),
    ...item,
  };
}

function bodySchema(path: Path<PrivilegedContext>): JsonObject {
  const properties = Object.entries(path.fields).map(([name, field]) => [
    name,
    {
      ...(field.type !== "any" && { type: field.type }),
      description: field.description,
      ...(field.format !== undefined && { format: field.format }),
      ...(field.default !== undefined && { default: field.default }),
      ...(field.deprecated && { deprecated: true }),
    } satisfies JsonObject,
  ]);
  return { type: "object", properties: Object.fromEntries(properties) };
}
