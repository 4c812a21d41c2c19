// The page of the HTTP API, from the path definitions of every backend: the same that route requests, convert fields and
// make the OpenAPI document.

import { authRegistry } from "#server/auth/registry.ts";
import { engineRegistry } from "#server/engines/registry.ts";
import type { Backend } from "#server/framework/backend.ts";
import type { Operation, PrivilegedContext } from "#server/framework/context.ts";
import type { Path } from "#server/framework/path.ts";
import { type MountRecord, noMountConfig } from "#server/mounts/mount-record.ts";
import { assembleForDescription } from "./assembled.ts";
import type { Generator } from "./generator.ts";
import { pageHead, table } from "./markdown.ts";

const INTRODUCTION = `All paths are below \`/v1/\`; a mount may lie elsewhere than at the path shown. In a path \`{name}\` is one segment, \`{name…}\` the rest of it, \`{name…?}\` the rest or nothing.

Access says what a request needs: **token**, a valid token whose policies allow the operation; **sudo**, that they also grant \`sudo\`; **public**, nothing. Paths marked *always* answer while the server is sealed; no audit device records them, because which devices there are is sealed away. LIST is also \`GET\` with \`?list=true\`; \`?help=1\` on a path describes it; \`sys/internal/specs/openapi\` gives the same as an OpenAPI document.

`;

const METHODS: Readonly<Record<Operation, string>> = {
  read: "GET",
  list: "LIST",
  scan: "SCAN",
  create: "POST",
  update: "POST",
  patch: "PATCH",
  delete: "DELETE",
  help: "",
};

interface Shown {
  readonly mountPath: string;
  readonly type: string;
  readonly options: Readonly<Record<string, string>>;
}

/** Types whose paths depend on an option of the mount, with the values it has; all others have one form. */
const VARIANTS: Readonly<Record<string, readonly Readonly<Record<string, string>>[]>> = {
  kv: [{ version: "2" }, { version: "1" }],
};
const DEFAULT_PATHS: Readonly<Record<string, string>> = { kv: "secret/" };

function shownMounts(): readonly Shown[] {
  const of = (type: string, mountPath: string) =>
    (VARIANTS[type] ?? [{}]).map((options) => ({ type, mountPath: DEFAULT_PATHS[type] ?? mountPath, options }));
  return [
    ...of("system", "sys/"),
    ...of("token", "auth/token/"),
    ...of("identity", "identity/"),
    ...engineRegistry.flatMap(({ type }) => of(type, `${type}/`)),
    ...authRegistry.flatMap(({ type }) => of(type, `auth/${type}/`)),
  ];
}

function mountRecord({ mountPath: path, type, options }: Shown): MountRecord {
  const common = { accessor: "", uuid: "", description: "", local: false, sealWrap: false };
  return { ...common, path, type, options, config: noMountConfig };
}

function shownPattern(pattern: string): string {
  return pattern.replace(/:(\w+)([*?]?)/g, (_, name: string, rest: string) => {
    const suffix = { "": "", "*": "…", "?": "…?" }[rest] ?? "";
    return `{${name}${suffix}}`;
  });
}

/** "GET: Show it." for each method; POST once, for it creates and updates. */
function operationsOf(path: Path<PrivilegedContext>): string {
  const lines = new Map<string, string>();
  for (const [operation, summary] of path.operations) lines.set(METHODS[operation], summary);
  return [...lines].map(([method, summary]) => `**${method}** ${summary}`).join("<br>");
}

function fieldsOf(path: Path<PrivilegedContext>): string {
  const names = Object.entries(path.fields).map(([name, field]) => {
    const type = field.format ?? field.type;
    return `\`${name}\` (${type}${field.deprecated ? ", deprecated" : ""}): ${field.description}`;
  });
  return [...names, ...(path.freeForm ? ["the client's own data"] : [])].join("<br>");
}

function accessOf(path: Path<PrivilegedContext>): string {
  const access = path.openForm ? `${path.access}; none at listeners that open ${path.openForm}` : path.access;
  return path.when === "always" ? `${access}, *always*` : access;
}

function section(shown: Shown, backend: Backend<PrivilegedContext>): string {
  const options = Object.entries(shown.options).map(([name, value]) => `${name} ${value}`);
  const title = [shown.type, ...options].join(", ");
  const rows = backend.paths.map((path) => [
    `\`${shown.mountPath}${shownPattern(path.pattern)}\``,
    accessOf(path),
    `${path.summary}<br>${operationsOf(path)}`,
    fieldsOf(path),
  ]);
  return `## ${title}\n\n${backend.summary}\n\n${table(["Path", "Access", "Operations", "Fields"], rows)}`;
}

function page(): string {
  const { backends } = assembleForDescription().server.services;
  const sections = shownMounts().map((shown) => section(shown, backends.of(mountRecord(shown)).backend));
  return `${pageHead("HTTP API", "the path definitions of the backends")}${INTRODUCTION}${sections.join("\n")}`;
}

export const apiReferenceGenerator: Generator = {
  name: "api-reference",
  files: () => new Map([["docs/reference/http-api.md", page()]]),
};
