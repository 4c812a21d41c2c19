// `delete/`, `undelete/` and `destroy/<path>`: what happens to versions after they were written. Deleting only marks;
// destroying removes the data for good.
import { CofferError } from "#common/errors.ts";
import type { Context } from "../../framework/context.ts";
import { field } from "../../framework/fields.ts";
import { definePath } from "../../framework/path.ts";
import { noContent, type Reply } from "../../framework/reply.ts";
import { deleteData, isReadable, readKey, type Version, writeKey } from "./v2-records.ts";

const fields = { versions: field.list("Numbers of the versions.") } as const;

export const deletePath = definePath("delete/:path*", {
  summary: "Deletion of versions.",
  fields,
  operations: {
    update: {
      summary: "Delete versions; they can be undeleted.",
      handler: (context, { path, versions }) => deleteVersions(context, path, numbersOf(versions)),
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
        changeVersions(context, path, numbersOf(versions), ({ created, destroyed, deleted }) =>
          destroyed ? { created, destroyed, deleted } : { created, destroyed },
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
        changeVersions(context, path, numbersOf(versions), (version, number) => {
          deleteData(context, path, number);
          return { ...version, destroyed: true };
        }),
    },
  },
});

/** Marks versions as deleted from now on; what is deleted or destroyed already stays as it is. */
export function deleteVersions(context: Context, path: string, numbers: readonly number[] | "latest"): Promise<Reply> {
  const now = context.clock.now();
  return changeVersions(context, path, numbers, (version) =>
    isReadable(version, now) ? { ...version, deleted: now } : version,
  );
}

async function changeVersions(
  context: Context,
  path: string,
  numbers: readonly number[] | "latest",
  change: (version: Version, number: number) => Version,
): Promise<Reply> {
  const key = await readKey(context, path);
  if (key === undefined) return noContent;
  const versions: Record<string, Version> = { ...key.versions };
  for (const number of numbers === "latest" ? [key.current] : numbers) {
    const version = versions[number];
    if (version !== undefined) versions[number] = change(version, number);
  }
  writeKey(context, path, { ...key, versions });
  return noContent;
}

function numbersOf(texts: readonly string[] | undefined): readonly number[] {
  if (texts === undefined || texts.length === 0) throw new CofferError("invalid_request", "no version number provided");
  return texts.map((text) => {
    if (!/^\d+$/.test(text)) throw new CofferError("invalid_request", `"${text}" in versions is not a version number`);
    return Number(text);
  });
}
