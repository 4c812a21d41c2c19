// `detailed-metadata/<path>`: lists as those of `metadata/`, with what is told of each key.
import type { JsonObject } from "#common/json.ts";
import type { Context } from "../../framework/context.ts";
import { folderPrefix, scanFolder } from "../../framework/listing.ts";
import { definePath } from "../../framework/path.ts";
import type { Reply } from "../../framework/reply.ts";
import { metadataReply } from "./v2-metadata.ts";
import { KEY_FOLDER, readKey } from "./v2-records.ts";

/** Longer lists have no key_info, for it reads every key: ask for pages. */
const KEY_INFO_MAX = 1_000;

export const detailedMetadataPath = definePath("detailed-metadata/:path?", {
  summary: "Keys with their settings and versions.",
  operations: {
    list: {
      summary: "List the names one level below; key_info has what metadata/ tells of each key.",
      handler: async (context, { path }) => {
        const folder = folderPrefix(path);
        return detailed(context, folder, await context.storage.list(KEY_FOLDER + folder, context.page));
      },
    },
    scan: {
      summary: "List every path below; key_info has what metadata/ tells of each key.",
      handler: async (context, { path }) => {
        const folder = folderPrefix(path);
        return detailed(context, folder, await scanFolder(context.storage, KEY_FOLDER + folder, context.page));
      },
    },
  },
});

async function detailed(context: Context, folder: string, keys: readonly string[]): Promise<Reply | undefined> {
  if (keys.length === 0) return undefined;
  if (keys.length > KEY_INFO_MAX) return { data: { keys } };
  const paths = keys.filter((key) => !key.endsWith("/"));
  await context.storage.prefetch(paths.map((path) => KEY_FOLDER + folder + path));
  const info: Record<string, JsonObject> = {};
  for (const path of paths) {
    const key = await readKey(context, folder + path);
    if (key) info[path] = metadataReply(key);
  }
  return { data: { keys, key_info: info } };
}
