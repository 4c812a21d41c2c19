// `metadata/<path>`: a key's settings, custom metadata and versions; listing; and the removal of all of it.
import type { Seconds } from "#common/clock.ts";
import { formatGoDuration } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { formatTime } from "#common/rfc3339.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import { folderPrefix, scanFolder } from "../../framework/listing.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply, listReply, noContent, type Reply } from "../../framework/reply.ts";
import { parseCustomMetadata, patchCustomMetadata } from "./custom-metadata.ts";
import { tellV2 } from "./kv-events.ts";
import {
  assertMaxVersions,
  type Config,
  customMetadataReply,
  deleteKey,
  KEY_FOLDER,
  type Key,
  newKey,
  readConfigAndKey,
  readKey,
  versionTimes,
  writeKey,
} from "./v2-records.ts";

interface Sent {
  readonly path: string;
  readonly max_versions: number | undefined;
  readonly cas_required: boolean | undefined;
  readonly metadata_cas: number | undefined;
  readonly metadata_cas_required: boolean | undefined;
  readonly delete_version_after: Seconds | undefined;
  readonly custom_metadata: JsonValue | undefined;
}

export const metadataPath = definePath("metadata/:path?", {
  summary: "Settings and versions of a key.",
  fields: {
    max_versions: field.integer("Versions to keep; 0 leaves it to the engine."),
    cas_required: field.flag("Every write must carry the check-and-set parameter."),
    metadata_cas: field.integer(
      "Write only if current_metadata_version is this; 0 is only if there was no such write.",
    ),
    metadata_cas_required: field.flag("Every write of this metadata must carry metadata_cas."),
    delete_version_after: field.seconds("Time after which a version counts as deleted."),
    custom_metadata: field.json("Texts of your own by name."),
  },
  exists: async (context, { path }) => (await readKey(context, path)) !== undefined,
  operations: {
    read: { summary: "Read them.", handler: read },
    update: { summary: "Change settings; those not sent stay.", handler: update },
    patch: { summary: "Merge into settings and custom metadata (RFC 7396).", handler: patch },
    delete: { summary: "Remove the key with all its versions.", handler: remove },
    list: {
      summary: "List the names one level below.",
      handler: async ({ storage, page }, { path }) =>
        listReply(await storage.list(KEY_FOLDER + folderPrefix(path), page)),
    },
    scan: {
      summary: "List every path below.",
      handler: async ({ storage, page }, { path }) =>
        listReply(await scanFolder(storage, KEY_FOLDER + folderPrefix(path), page)),
    },
  },
});

async function read(context: Context, { path }: Sent): Promise<Reply | undefined> {
  const key = await readKey(context, path);
  return key && dataReply(metadataReply(key));
}

/** All that is told of a key. */
export function metadataReply(key: Key): JsonObject {
  const versions = Object.entries(key.versions).map(([number, version]) => [number, versionTimes(version)] as const);
  return {
    cas_required: key.casRequired,
    metadata_cas_required: key.metadataCasRequired,
    created_time: formatTime(key.created),
    current_metadata_version: key.metadataVersion,
    current_version: key.current,
    custom_metadata: customMetadataReply(key),
    delete_version_after: formatGoDuration(key.deleteAfterSeconds),
    max_versions: key.maxVersions,
    oldest_version: key.oldest,
    updated_time: formatTime(key.updated),
    versions: Object.fromEntries(versions),
  };
}

async function update(context: Context, sent: Sent): Promise<Reply> {
  const [config, before] = await readConfigAndKey(context, sent.path);
  const key = before ?? newKey(context.clock.now());
  assertMetadataCas(sent, key, config);
  const customMetadata =
    sent.custom_metadata === undefined ? key.customMetadata : parseCustomMetadata(sent.custom_metadata);
  store(context, "metadata-write", sent.path, {
    ...key,
    maxVersions: sent.max_versions ?? key.maxVersions,
    casRequired: sent.cas_required ?? key.casRequired,
    metadataCasRequired: sent.metadata_cas_required ?? key.metadataCasRequired,
    deleteAfterSeconds: sent.delete_version_after ?? key.deleteAfterSeconds,
    customMetadata,
  });
  return ignoredCasRequired(sent, config.casRequired);
}

/** As `update`, but a null that was sent sets back, and custom metadata merges. */
async function patch(context: Context, sent: Sent): Promise<Reply | undefined> {
  const [config, key] = await readConfigAndKey(context, sent.path);
  if (key === undefined) return undefined;
  assertMetadataCas(sent, key, config);
  const { data } = context;
  const custom = data["custom_metadata"];
  store(context, "metadata-patch", sent.path, {
    ...key,
    maxVersions: sent.max_versions ?? unlessNull(data, "max_versions", key.maxVersions, 0),
    casRequired: sent.cas_required ?? unlessNull(data, "cas_required", key.casRequired, false),
    metadataCasRequired:
      sent.metadata_cas_required ?? unlessNull(data, "metadata_cas_required", key.metadataCasRequired, false),
    deleteAfterSeconds:
      sent.delete_version_after ?? unlessNull(data, "delete_version_after", key.deleteAfterSeconds, 0),
    customMetadata: isJsonObject(custom)
      ? patchCustomMetadata(key.customMetadata, custom)
      : unlessNull(data, "custom_metadata", key.customMetadata, {}),
  });
  return ignoredCasRequired(sent, config.casRequired);
}

/** Throws `invalid_request` for a write that does not know the metadata it replaces. */
function assertMetadataCas({ metadata_cas }: Sent, key: Key, config: Config): void {
  if (metadata_cas === undefined && (config.metadataCasRequired || key.metadataCasRequired))
    throw new CofferError(
      "invalid_request",
      "metadata check-and-set parameter required for this call: send metadata_cas",
    );
  if (metadata_cas !== undefined && metadata_cas !== key.metadataVersion)
    throw new CofferError(
      "invalid_request",
      "metadata check-and-set parameter did not match the current version: metadata_cas must be current_metadata_version",
    );
}

function unlessNull<T>(data: JsonObject, name: string, before: T, cleared: T): T {
  return data[name] === null ? cleared : before;
}

function store(context: Context, what: string, path: string, key: Key): void {
  assertMaxVersions(key.maxVersions);
  writeKey(context, path, { ...key, metadataVersion: key.metadataVersion + 1 });
  tellV2(context, { what, path: `metadata/${path}`, dataPath: `metadata/${path}`, key });
}

function ignoredCasRequired(sent: Sent, mandated: boolean): Reply {
  if (!mandated || sent.cas_required !== false) return noContent;
  return {
    warnings: ['"cas_required" set to false, but is mandated by backend config. This value will be ignored.'],
  };
}

async function remove(context: Context, { path }: Sent): Promise<Reply> {
  const key = await readKey(context, path);
  if (key === undefined) return noContent;
  deleteKey(context, path, key);
  tellV2(context, { what: "metadata-delete", path: `metadata/${path}`, dataPath: `metadata/${path}` });
  return noContent;
}
