// Cubbyhole: every token's own small store. Storage: `<cubbyhole id>/<path>`, the object as JSON text; whoever ends a
// token removes the folder of its id. A caller sees no folder but its own, whatever its policies say.
import { CofferError } from "#common/errors.ts";
import { encodeSorted, isJsonObject, parseJson } from "#common/json.ts";
import type { BackendType } from "../../framework/backend.ts";
import type { Context } from "../../framework/context.ts";
import { folderPrefix } from "../../framework/listing.ts";
import { definePath } from "../../framework/path.ts";
import { listReply, noContent, type Reply } from "../../framework/reply.ts";

export const cubbyholeType: BackendType = {
  type: "cubbyhole",
  single: true,
  create: () => ({
    type: "cubbyhole",
    summary: "Secrets that only the token that wrote them can read.",
    paths: [cubbyholePath],
  }),
};

const cubbyholePath = definePath(":path?", {
  summary: "A secret of the calling token: any JSON object.",
  freeForm: true,
  exists: async (context, { path }) => (await context.storage.get(keyOf(context, path))) !== undefined,
  operations: {
    read: { summary: "Read a secret.", handler: (context, { path }) => read(context, path) },
    update: { summary: "Replace a secret.", handler: (context, { path }) => write(context, path) },
    delete: {
      summary: "Delete a secret.",
      handler: (context, { path }) => {
        context.storage.delete(keyOf(context, path));
        return noContent;
      },
    },
    list: {
      summary: "List the names one level below.",
      handler: async (context, { path }) =>
        listReply(await context.storage.list(keyOf(context, folderPrefix(path)), context.page)),
    },
  },
});

function keyOf({ caller }: Context, path: string): string {
  if (caller === undefined) throw new CofferError("permission_denied", "permission denied");
  if (caller.cubbyholeId === "")
    throw new CofferError("invalid_request", "cubbyhole operations are only supported by 'service' type tokens");
  return `${caller.cubbyholeId}/${path}`;
}

async function read(context: Context, path: string): Promise<Reply | undefined> {
  const stored = await context.storage.get(keyOf(context, path));
  const data = stored === undefined ? undefined : parseJson(Buffer.from(stored).toString("utf8"));
  return isJsonObject(data) ? { data } : undefined;
}

function write(context: Context, path: string): Reply {
  if (Object.keys(context.data).length === 0) throw new CofferError("invalid_request", "missing data fields");
  context.storage.put(keyOf(context, path), Buffer.from(encodeSorted(context.data), "utf8"));
  return noContent;
}
