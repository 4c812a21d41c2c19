// `data/<path>`: read, write, patch and delete secrets of KV version 2.
import { CofferError } from "#common/errors.ts";
import { isJsonArray, isJsonObject, isNumberLiteral, type JsonObject, type JsonValue } from "#common/json.ts";
import { mergePatch } from "#common/merge-patch.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply, type Reply } from "../../framework/reply.ts";
import { tellV2 } from "./kv-events.ts";
import {
  addVersion,
  type Config,
  isReadable,
  type Key,
  newKey,
  readConfigAndKey,
  readData,
  readKey,
  versionReply,
} from "./v2-records.ts";
import { deleteVersions } from "./v2-versions.ts";

interface Write {
  readonly path: string;
  readonly data: JsonObject | undefined;
  readonly options: JsonObject | undefined;
}

export const dataPath = definePath("data/:path*", {
  summary: "A secret and its versions.",
  fields: {
    data: field.object("The secret: any JSON object."),
    options: field.object("cas: the version that must be the current one; 0 when there must be none."),
    version: field.integer("The version to read; 0 is the latest."),
  },
  exists: async (context, { path }) => (await readKey(context, path)) !== undefined,
  operations: {
    read: {
      summary: "Read a version.",
      handler: (context, { path, version }) => read(context, path, version ?? 0),
    },
    update: { summary: "Write a new version.", handler: write },
    patch: { summary: "Write a new version, merged from the latest (RFC 7396).", handler: patch },
    delete: {
      summary: "Delete the latest version; it can be undeleted.",
      handler: async (context, { path }) =>
        deleteVersions(context, path, "latest", { what: "data-delete", folder: "data" }),
    },
  },
});

async function read(context: Context, path: string, wanted: number): Promise<Reply | undefined> {
  const key = await readKey(context, path);
  if (key === undefined) return undefined;
  const number = wanted === 0 ? key.current : wanted;
  const version = key.versions[number];
  if (version === undefined) return undefined;
  const metadata = versionReply(key, number, version);
  if (!isReadable(version, context.clock.now())) return { status: 404, data: { data: null, metadata } };
  return dataReply({ data: await readData(context, path, number), metadata });
}

async function write(context: Context, { path, data, options }: Write): Promise<Reply> {
  if (data === undefined) throw new CofferError("invalid_request", "no data provided");
  const [config, key] = await readConfigAndKey(context, path);
  assertCas(options, key, config);
  const before = key ?? newKey(context.clock.now());
  return versionWritten(context, "data-write", path, addVersion(context, path, before, config, inDoubles(data)));
}

async function patch(context: Context, { path, options }: Write): Promise<Reply | undefined> {
  // Taken as it was sent: the nulls in it mean something.
  const data = context.data["data"];
  if (!isJsonObject(data)) throw new CofferError("invalid_request", "no data provided");
  const [config, key] = await readConfigAndKey(context, path);
  const version = key?.versions[key.current];
  if (key === undefined || version === undefined) return undefined;
  assertCas(options, key, config);
  if (!isReadable(version, context.clock.now())) return { status: 404, data: versionReply(key, key.current, version) };
  const merged = mergePatch(await readData(context, path, key.current), inDoubles(data));
  return versionWritten(context, "data-patch", path, addVersion(context, path, key, config, merged));
}

function versionWritten(context: Context, what: string, path: string, key: Key): Reply {
  const version = key.versions[key.current];
  if (version === undefined) throw new CofferError("internal", "the version just written is not in its key");
  tellV2(context, { what, path: `data/${path}`, dataPath: `data/${path}`, key });
  return dataReply(versionReply(key, key.current, version));
}

function assertCas(options: JsonObject | undefined, key: Key | undefined, config: Config): void {
  const sent = options?.["cas"];
  if (sent === undefined || sent === null) {
    if (config.casRequired || key?.casRequired)
      throw new CofferError("invalid_request", "check-and-set parameter required for this call");
    return;
  }
  if (parseCas(sent) !== (key?.current ?? 0))
    throw new CofferError("invalid_request", "check-and-set parameter did not match the current version");
}

function parseCas(sent: JsonValue): number {
  const number = typeof sent === "string" && /^\d+$/.test(sent) ? Number(sent) : sent;
  if (typeof number !== "number" || !Number.isInteger(number))
    throw new CofferError("invalid_request", "error parsing check-and-set parameter");
  return number;
}

/** Version 2 has always kept numbers as doubles: clients compare what they read with what such a server answers. */
export function inDoubles(data: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, toDoubles(value)]));
}

function toDoubles(value: JsonValue): JsonValue {
  if (isNumberLiteral(value)) return Number(value.rawJSON);
  if (isJsonArray(value)) return value.map(toDoubles);
  return isJsonObject(value) ? inDoubles(value) : value;
}
