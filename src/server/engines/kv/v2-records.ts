// What KV version 2 stores, and the rules over it that are plain arithmetic.
//   config               the engine's settings
//   key/<path>           one key: its settings, custom metadata, and when each version was made, deleted or destroyed
//   data/<path>/<n>      the secret of version n, as JSON text
// Reading a version is two gets, writing one is two puts (and a delete for each version that falls out).
import type { Millis, Seconds } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { encodeSorted, isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { formatTime } from "#common/rfc3339.ts";
import { boolean, type Infer, map, number, object, optional, string, withDefault } from "#common/schema.ts";
import { recordKind } from "../../barrier/transaction.ts";
import type { Context } from "../../framework/context.ts";

export const KEY_FOLDER = "key/";
export const DATA_FOLDER = "data/";
/** Versions kept when neither the engine nor the key says how many. */
const MAX_VERSIONS_DEFAULT = 10;
/** Every version has an entry in its key's record, which each write rewrites: at this many it is about a megabyte. */
export const MAX_VERSIONS_LIMIT = 10_000;

const configSchema = object({
  maxVersions: number,
  casRequired: boolean,
  /** The same for writes of metadata. */
  metadataCasRequired: withDefault(boolean, false),
  deleteAfterSeconds: number,
});
export type Config = Infer<typeof configSchema>;
const configKind = recordKind("kv configuration", configSchema, { cached: true });
const CONFIG_KEY = "config";
const NO_CONFIG: Config = { maxVersions: 0, casRequired: false, metadataCasRequired: false, deleteAfterSeconds: 0 };

const versionSchema = object({ created: number, deleted: optional(number), destroyed: boolean });
export type Version = Infer<typeof versionSchema>;
const keySchema = object({
  created: number,
  updated: number,
  current: number,
  oldest: number,
  maxVersions: number,
  casRequired: boolean,
  metadataCasRequired: withDefault(boolean, false),
  /** Counts the writes of settings and custom metadata, as `current` does those of data. */
  metadataVersion: withDefault(number, 0),
  deleteAfterSeconds: number,
  customMetadata: map(string),
  versions: map(versionSchema),
});
export type Key = Infer<typeof keySchema>;
/** Ten versions without custom metadata: all the keys that a cache holds are some tens of megabytes at most. */
const CACHED_KEY_BYTES_MAX = 1_024;
const keyKind = recordKind("kv key", keySchema, { cached: true, cachedBytesMax: CACHED_KEY_BYTES_MAX });

type Stored = Pick<Context, "storage">;

export async function readConfig({ storage }: Stored): Promise<Config> {
  return (await storage.read(configKind, CONFIG_KEY)) ?? NO_CONFIG;
}

export function writeConfig({ storage }: Stored, config: Config): void {
  storage.write(configKind, CONFIG_KEY, config);
}

export function readKey({ storage }: Stored, path: string): Promise<Key | undefined> {
  return storage.read(keyKind, KEY_FOLDER + path);
}

/** Config and key in one round trip. */
export async function readConfigAndKey(context: Stored, path: string): Promise<[Config, Key | undefined]> {
  await context.storage.prefetch([CONFIG_KEY, KEY_FOLDER + path]);
  return [await readConfig(context), await readKey(context, path)];
}

export function writeKey({ storage }: Stored, path: string, key: Key): void {
  storage.write(keyKind, KEY_FOLDER + path, key);
}

export function deleteKey({ storage }: Stored, path: string, key: Key): void {
  for (const version of Object.keys(key.versions)) storage.delete(dataKey(path, version));
  storage.delete(KEY_FOLDER + path);
}

export async function readData({ storage }: Stored, path: string, version: number): Promise<JsonObject> {
  const stored = await storage.get(dataKey(path, version));
  const data = stored === undefined ? undefined : parseJson(Buffer.from(stored).toString("utf8"));
  if (!isJsonObject(data))
    throw new CofferError("internal", `the data of version ${version} of ${path} is missing or damaged`);
  return data;
}

export function writeData({ storage }: Stored, path: string, version: number | string, data: JsonObject): void {
  storage.put(dataKey(path, version), Buffer.from(encodeSorted(data), "utf8"));
}

export function deleteData({ storage }: Stored, path: string, version: number | string): void {
  storage.delete(dataKey(path, version));
}

function dataKey(path: string, version: number | string): string {
  return `${DATA_FOLDER}${path}/${version}`;
}

export function newKey(now: Millis): Key {
  return {
    created: now,
    updated: now,
    current: 0,
    oldest: 0,
    maxVersions: 0,
    casRequired: false,
    metadataCasRequired: false,
    metadataVersion: 0,
    deleteAfterSeconds: 0,
    customMetadata: {},
    versions: {},
  };
}

/** Stores data as the next version of a key and drops those that no longer fit. */
export function addVersion(
  context: Pick<Context, "storage" | "clock">,
  path: string,
  before: Key,
  config: Config,
  data: JsonObject,
): Key {
  const now = context.clock.now();
  const current = before.current + 1;
  const keep = Math.max(before.maxVersions, config.maxVersions) || MAX_VERSIONS_DEFAULT;
  const versions: Record<string, Version> = {};
  let oldest = before.oldest;
  for (const [number, version] of Object.entries(before.versions)) {
    if (Number(number) > current - keep) versions[number] = version;
    else deleteData(context, path, number);
  }
  if (current > keep) oldest = Math.max(oldest, current - keep + 1);
  versions[current] = newVersion(now, deleteAfter(before, config));
  const key: Key = { ...before, current, oldest, updated: now, versions };
  writeData(context, path, current, data);
  writeKey(context, path, key);
  return key;
}

function newVersion(now: Millis, after: Seconds | undefined): Version {
  const version = { created: now, destroyed: false };
  return after === undefined ? version : { ...version, deleted: now + after * 1000 };
}

/** The shorter of the engine's and the key's time; a negative one on either switches it off. */
function deleteAfter(key: Key, config: Config): Seconds | undefined {
  const times = [key.deleteAfterSeconds, config.deleteAfterSeconds];
  if (times.some((time) => time < 0)) return undefined;
  const set = times.filter((time) => time > 0);
  return set.length === 0 ? undefined : Math.min(...set);
}

/** Whether readers may have it: neither destroyed nor deleted by now. */
export function isReadable(version: Version, now: Millis): boolean {
  return !version.destroyed && (version.deleted === undefined || version.deleted > now);
}

export function customMetadataReply(key: Key): JsonObject | null {
  return Object.keys(key.customMetadata).length === 0 ? null : key.customMetadata;
}

/** A version's own facts, as every answer about one has them. */
export function versionReply(key: Key, number: number, version: Version): JsonObject {
  // In the order of the letters, in which it is sent.
  return {
    created_time: formatTime(version.created),
    custom_metadata: customMetadataReply(key),
    deletion_time: version.deleted === undefined ? "" : formatTime(version.deleted),
    destroyed: version.destroyed,
    version: number,
  };
}

export function versionTimes(version: Version): JsonObject {
  return {
    created_time: formatTime(version.created),
    deletion_time: version.deleted === undefined ? "" : formatTime(version.deleted),
    destroyed: version.destroyed,
  };
}

export function assertMaxVersions(maxVersions: number): void {
  if (maxVersions < 0 || maxVersions > MAX_VERSIONS_LIMIT)
    throw new CofferError("invalid_request", `max_versions must be from 0 to ${MAX_VERSIONS_LIMIT}`);
}
