// KV version 1: one JSON object per path, kept word for word. Storage: `v1/<path>` holds the object as JSON text with
// sorted keys and every number's own digits. No versions, no configuration.

import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { encodeSorted, isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import type { Backend } from "../../framework/backend.ts";
import type { Context } from "../../framework/context.ts";
import { folderPrefix, scanFolder } from "../../framework/listing.ts";
import { definePath } from "../../framework/path.ts";
import { listReply, noContent, type Reply } from "../../framework/reply.ts";
import { tellV1 } from "./kv-events.ts";

export const V1_FOLDER = "v1/";

export function createKvV1(): Backend {
  return {
    type: "kv",
    summary: "Secrets by path, one version each.",
    sealWrapped: [V1_FOLDER],
    upgrade: refuseDowngrade,
    itemRecords: (path) => ({ folders: [], has: (key) => key === V1_FOLDER + path }),
    paths: [
      definePath(":path?", {
        summary: "A secret: any JSON object.",
        freeForm: true,
        exists: async (context, { path }) => (await context.storage.get(V1_FOLDER + path)) !== undefined,
        operations: {
          read: { summary: "Read a secret.", handler: (context, { path }) => read(context, path) },
          update: { summary: "Replace a secret.", handler: (context, { path }) => write(context, path) },
          delete: { summary: "Delete a secret.", handler: (context, { path }) => remove(context, path) },
          list: {
            summary: "List the names one level below.",
            handler: async (context, { path }) =>
              listReply(await context.storage.list(V1_FOLDER + folderPrefix(path), context.page)),
          },
          scan: {
            summary: "List every path below.",
            handler: async (context, { path }) =>
              listReply(await scanFolder(context.storage, V1_FOLDER + folderPrefix(path), context.page)),
          },
        },
      }),
    ],
  };
}

/** Version 2 keeps what version 1 has no place for, so there is no way back. */
async function refuseDowngrade(
  _context: unknown,
  before: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  if ((before["version"] ?? "1") === "1") return [];
  throw new CofferError(
    "invalid_request",
    "a kv mount of version 2 cannot become version 1; mount another one and copy the secrets that it is to have",
  );
}

async function read(context: Context, path: string): Promise<Reply | undefined> {
  const stored = await context.storage.get(V1_FOLDER + path);
  if (stored === undefined) return undefined;
  const data = parseJson(Buffer.from(stored).toString("utf8"));
  if (!isJsonObject(data)) throw new CofferError("internal", "a stored secret is not a JSON object");
  return { data, leaseSeconds: leaseOf(data) ?? context.mount.defaultTtlSeconds };
}

function write(context: Context, path: string): Reply {
  if (Object.keys(context.data).length === 0) throw new CofferError("invalid_request", "missing data fields");
  context.storage.put(V1_FOLDER + path, Buffer.from(encodeSorted(context.data), "utf8"));
  tellV1(context, "write", path);
  return noContent;
}

function remove(context: Context, path: string): Reply {
  context.storage.delete(V1_FOLDER + path);
  tellV1(context, "delete", path);
  return noContent;
}

/** A secret may say by `ttl` (of old: `lease`) how long readers should trust it. What is no duration says nothing. */
function leaseOf(data: JsonObject): number | undefined {
  const said = data["ttl"] ?? data["lease"];
  const seconds = typeof said === "string" || typeof said === "number" ? parseDurationSeconds(String(said)) : undefined;
  return seconds !== undefined && seconds > 0 ? seconds : undefined;
}
