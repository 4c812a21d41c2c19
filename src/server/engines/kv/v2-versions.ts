// `delete/`, `undelete/` and `destroy/<path>`: what happens to versions after they were written. Deleting only marks;
// destroying removes the data for good.
import { CofferError } from "#common/errors.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import { definePath } from "../../framework/path.ts";
import { noContent, type Reply } from "../../framework/reply.ts";
import { tellV2 } from "./kv-events.ts";
import { deleteData, isReadable, readKey, type Version, writeKey } from "./v2-records.ts";

const fields = { versions: field.list("Numbers of the versions.") } as const;

export const deletePath = definePath("delete/:path*", {
  summary: "Deletion of versions.",
  fields,
  operations: {
    update: {
      summary: "Delete versions; they can be undeleted.",
      handler: (context, { path, versions }) =>
        deleteVersions(context, path, numbersOf(versions), { what: "delete", folder: "delete" }),
    },
  },
});

export const undeletePath = definePath("undelete/:path*", {
  summary: "Undoing of deletions.",
  fields,
  operations: {
    update: {
      summary: "Make deleted versions readable again.",
      handler: (context, { path, versions }) =>
        changeVersions(
          context,
          path,
          numbersOf(versions),
          ({ created, destroyed, deleted }) => (destroyed ? { created, destroyed, deleted } : { created, destroyed }),
          { what: "undelete", folder: "undelete" },
        ),
    },
  },
});

export const destroyPath = definePath("destroy/:path*", {
  summary: "Destruction of versions.",
  fields,
  operations: {
    update: {
      summary: "Remove the data of versions for good.",
      handler: (context, { path, versions }) =>
        changeVersions(
          context,
          path,
          numbersOf(versions),
          (version, number) => {
            deleteData(context, path, number);
            return { ...version, destroyed: true };
          },
          { what: "destroy", folder: "destroy" },
        ),
    },
  },
});

/** Marks versions as deleted from now on; what is deleted or destroyed already stays as it is. */
export function deleteVersions(
  context: Context,
  path: string,
  numbers: readonly number[] | "latest",
  told: Told,
): Promise<Reply> {
  const now = context.clock.now();
  const change = (version: Version) => (isReadable(version, now) ? { ...version, deleted: now } : version);
  return changeVersions(context, path, numbers, change, told);
}

/** How the change is told to subscribers, and the folder of the request's path. */
interface Told {
  readonly what: "data-delete" | "delete" | "undelete" | "destroy";
  readonly folder: "data" | "delete" | "undelete" | "destroy";
}

const LISTS: Partial<Record<Told["what"], string>> = {
  delete: "deleted_versions",
  undelete: "undeleted_versions",
  destroy: "destroyed_versions",
};

async function changeVersions(
  context: Context,
  path: string,
  numbers: readonly number[] | "latest",
  change: (version: Version, number: number) => Version,
  { what, folder }: Told,
): Promise<Reply> {
  const key = await readKey(context, path);
  if (key === undefined) return noContent;
  const versions: Record<string, Version> = { ...key.versions };
  const wanted = numbers === "latest" ? [key.current] : numbers;
  for (const number of wanted) {
    const version = versions[number];
    if (version !== undefined) versions[number] = change(version, number);
  }
  writeKey(context, path, { ...key, versions });
  const list = LISTS[what];
  const more = list === undefined ? {} : { [list]: JSON.stringify(wanted) };
  tellV2(context, { what, path: `${folder}/${path}`, dataPath: `data/${path}`, key, more });
  return noContent;
}

function numbersOf(texts: readonly string[] | undefined): readonly number[] {
  if (texts === undefined || texts.length === 0) throw new CofferError("invalid_request", "no version number provided");
  return texts.map((text) => {
    if (!/^\d+$/.test(text)) throw new CofferError("invalid_request", `"${text}" in versions is not a version number`);
    return Number(text);
  });
}
