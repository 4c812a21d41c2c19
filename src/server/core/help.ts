// Help from a path's definition: what `?help=1` answers.
import type { JsonObject } from "#common/json.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import type { Path } from "../framework/path.ts";
import { OpenApiDocument } from "./openapi.ts";

/** `prefix` is the mount's path, with a slash at the end. */
export function describePath(path: Path<PrivilegedContext>, prefix: string, version: string): JsonObject {
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
  const document = new OpenApiDocument();
  document.add({ prefix, tag: prefix.replace(/\/$/, "") }, path);
  return {
    help: `${text.join("\n")}\n`,
    see_also: null,
    openapi: document.toJson({ version }),
  };
}
