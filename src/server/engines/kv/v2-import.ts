// `import/<path>`: versions of a key as another server had them, with their numbers and times. What `coffer import` and
// other tools of migration write; it makes history, which nobody else may, so it wants sudo.
import type { Millis, Seconds } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply, type Reply } from "../../framework/reply.ts";
import { parseCustomMetadata } from "./custom-metadata.ts";
import { tellV2 } from "./kv-events.ts";
import { inDoubles } from "./v2-data.ts";
import { metadataReply } from "./v2-metadata.ts";
import {
  assertMaxVersions,
  deleteData,
  type Key,
  MAX_VERSIONS_LIMIT,
  newKey,
  readKey,
  type Version,
  writeData,
  writeKey,
} from "./v2-records.ts";

/** Far above any version that was ever written, and exact in every client. */
export const VERSION_NUMBER_MAX = 2 ** 31 - 1;

interface Sent {
  readonly path: string;
  readonly cas: number | undefined;
  readonly versions: JsonObject | undefined;
  readonly created_time: string | undefined;
  readonly updated_time: string | undefined;
  readonly oldest_version: number | undefined;
  readonly max_versions: number | undefined;
  readonly cas_required: boolean | undefined;
  readonly delete_version_after: Seconds | undefined;
  readonly custom_metadata: JsonValue | undefined;
}

export const importPath = definePath("import/:path*", {
  summary: "Versions of a key as another server had them.",
  description:
    "Adds or replaces versions under the numbers and times that are sent; what is not sent stays, unless it is older than `oldest_version`. A version has `created_time`, perhaps `deletion_time`, and either `data` or `destroyed`. One that is there already may be sent without `data`.",
  access: "sudo",
  fields: {
    cas: field.integer("The version that must be the current one; 0 when there must be none."),
    versions: field.object("By number: created_time, deletion_time, destroyed, data."),
    created_time: field.text("When the key was made (RFC 3339)."),
    updated_time: field.text("When it was last changed (RFC 3339)."),
    oldest_version: field.integer("The oldest version that is kept; older ones are removed."),
    max_versions: field.integer("Versions to keep; 0 leaves it to the engine."),
    cas_required: field.flag("Every write must carry the check-and-set parameter."),
    delete_version_after: field.seconds("Time after which a version counts as deleted."),
    custom_metadata: field.json("Texts of your own by name."),
  },
  operations: { update: { summary: "Add or replace versions.", handler: importVersions } },
});

async function importVersions(context: Context, sent: Sent): Promise<Reply> {
  const before = await readKey(context, sent.path);
  if (sent.cas !== undefined && sent.cas !== (before?.current ?? 0))
    throw new CofferError("invalid_request", "check-and-set parameter did not match the current version");
  const key = before ?? newKey(context.clock.now());
  const oldest = oldestOf(sent, key);
  const versions = withoutOlder(context, sent.path, { ...key.versions, ...newVersions(context, sent, key) }, oldest);
  const numbers = Object.keys(versions).map(Number);
  if (numbers.length > MAX_VERSIONS_LIMIT)
    throw new CofferError("invalid_request", `versions: a key has at most ${MAX_VERSIONS_LIMIT}`);
  const maxVersions = sent.max_versions ?? key.maxVersions;
  assertMaxVersions(maxVersions);
  const after: Key = {
    ...{ metadataCasRequired: key.metadataCasRequired, metadataVersion: key.metadataVersion + 1 },
    ...{ versions, maxVersions, current: Math.max(key.current, ...numbers), oldest },
    created: timeOf(sent.created_time, "created_time") ?? key.created,
    updated: timeOf(sent.updated_time, "updated_time") ?? key.updated,
    casRequired: sent.cas_required ?? key.casRequired,
    deleteAfterSeconds: sent.delete_version_after ?? key.deleteAfterSeconds,
    customMetadata:
      sent.custom_metadata === undefined ? key.customMetadata : parseCustomMetadata(sent.custom_metadata ?? {}),
  };
  writeKey(context, sent.path, after);
  tellV2(context, { what: "import", path: `import/${sent.path}`, dataPath: `data/${sent.path}`, key: after });
  return dataReply(metadataReply(after));
}

function withoutOlder(
  context: Context,
  path: string,
  versions: Readonly<Record<string, Version>>,
  oldest: number,
): Record<string, Version> {
  const kept: Record<string, Version> = {};
  for (const [number, version] of Object.entries(versions)) {
    if (Number(number) < oldest) deleteData(context, path, number);
    else kept[number] = version;
  }
  return kept;
}

function oldestOf({ oldest_version: sent }: Sent, key: Key): number {
  if (sent === undefined) return key.oldest;
  if (sent >= 0 && sent <= VERSION_NUMBER_MAX) return sent;
  throw new CofferError("invalid_request", `oldest_version must be from 0 to ${VERSION_NUMBER_MAX}`);
}

function newVersions(context: Context, { path, versions = {} }: Sent, key: Key): Record<string, Version> {
  const made: Record<string, Version> = {};
  for (const [number, sent] of Object.entries(versions)) {
    if (!/^[1-9]\d{0,9}$/.test(number) || Number(number) > VERSION_NUMBER_MAX)
      throw new CofferError("invalid_request", `"${number}" in versions is not a version number`);
    const version = versionOf(number, sent);
    const data = isJsonObject(sent) ? sent["data"] : undefined;
    if (version.destroyed) deleteData(context, path, number);
    else if (isJsonObject(data)) writeData(context, path, number, inDoubles(data));
    else if (key.versions[number] === undefined || key.versions[number].destroyed)
      throw new CofferError("invalid_request", `versions.${number} has neither data nor destroyed: true; send one`);
    made[number] = version;
  }
  return made;
}

function versionOf(number: string, sent: JsonValue): Version {
  const where = `versions.${number}`;
  if (!isJsonObject(sent)) throw new CofferError("invalid_request", `${where} must be an object`);
  const created = timeOf(sent["created_time"], `${where}.created_time`);
  if (created === undefined) throw new CofferError("invalid_request", `${where}.created_time is missing`);
  const deleted = timeOf(sent["deletion_time"], `${where}.deletion_time`);
  const destroyed = sent["destroyed"] ?? false;
  if (typeof destroyed !== "boolean")
    throw new CofferError("invalid_request", `${where}.destroyed must be true or false`);
  return { created, destroyed, ...(deleted !== undefined && { deleted }) };
}

/** RFC 3339 to the millisecond; undefined for none. */
function timeOf(sent: JsonValue | undefined, name: string): Millis | undefined {
  if (sent === undefined || sent === null || sent === "") return undefined;
  const isTime =
    typeof sent === "string" && /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/.test(sent);
  const millis = isTime ? Date.parse(sent) : Number.NaN;
  if (Number.isFinite(millis)) return millis;
  throw new CofferError("invalid_request", `${name} must be a time such as 2026-01-31T12:00:00Z`);
}
