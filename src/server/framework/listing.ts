// Lists as the API has them: a prefix may be given as "", "a/b" or "a/b/", folders end in "/", and a scan names
// everything below a prefix.
import type { StorageView } from "../barrier/transaction.ts";
import { compareKeys } from "../storage/key.ts";
import type { Page } from "../storage/storage.ts";
import type { Context } from "./context.ts";
import { definePath, type Path } from "./path.ts";
import { listReply } from "./reply.ts";

/** Folders a scan descends into before it stops, so that no request walks a store without end. */
const SCAN_FOLDERS_MAX = 10_000;
/** Names taken of one folder: what a single list may answer at most. */
const SCAN_NAMES_MAX = 100_000;

/** A client's list path as a storage prefix: "" or ending in "/". */
export function folderPrefix(path: string): string {
  return path === "" || path.endsWith("/") ? path : `${path}/`;
}

/** One page of names that are all in memory, sorted. */
export function pageOf(names: readonly string[], { after, limit }: Page): readonly string[] {
  const rest = after === undefined ? names : names.filter((name) => compareKeys(name, after) > 0);
  return rest.slice(0, limit);
}

/** The same path, matching with a slash at its end as well: what clients put behind the folder that they list. */
export function withTrailingSlash<C>(path: Path<C>): Path<C> {
  return { ...path, match: (text) => path.match(text.endsWith("/") ? text.slice(0, -1) : text) };
}

/** The path that lists the names in a folder of the backend's storage; `noun` such as "roles". */
export function namesPath(path: string, folder: string, noun: string): Path<Context> {
  return withTrailingSlash(
    definePath(path, {
      summary: `Names of the ${noun}.`,
      operations: {
        list: {
          summary: `List the ${noun}.`,
          handler: async ({ storage, page }) => listReply(await storage.list(folder, page)),
        },
      },
    }),
  );
}

/** Every key below a folder by its path relative to it, in key order, as far as the page allows. */
export async function scanFolder(storage: StorageView, folder: string, page: Page): Promise<readonly string[]> {
  const { after, limit } = page;
  const found: string[] = [];
  const open = [""];
  for (let folders = 0; open.length > 0 && found.length < limit && folders < SCAN_FOLDERS_MAX; ) {
    const next = open.pop() ?? "";
    if (next !== "" && !next.endsWith("/")) {
      if (after === undefined || compareKeys(next, after) > 0) found.push(next);
      continue;
    }
    folders++;
    const names = await storage.list(folder + next, { limit: SCAN_NAMES_MAX });
    for (const name of names.toReversed()) open.push(next + name);
  }
  return found;
}
