// Help from the definitions of paths: what `?help=1` answers.
import type { JsonObject } from "#common/json.ts";
import type { Backend } from "../framework/backend.ts";
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
  return helpOf(text, [path], prefix, version);
}

/** What a mount itself answers: its paths. */
export function describeMount(backend: Backend<PrivilegedContext>, prefix: string, version: string): JsonObject {
  const paths = backend.paths.flatMap((path) => [`    ${path.pattern}`, `        ${path.description}`, ""]);
  return helpOf(["## DESCRIPTION", "", backend.summary, "", "## PATHS", "", ...paths], backend.paths, prefix, version);
}

function helpOf(
  lines: readonly string[],
  paths: readonly Path<PrivilegedContext>[],
  prefix: string,
  version: string,
): JsonObject {
  const document = new OpenApiDocument();
  for (const path of paths) document.add({ prefix, tag: prefix.replace(/\/$/, "") }, path);
  return { help: `${lines.join("\n")}\n`, see_also: null, openapi: document.toJson({ version }) };
}
