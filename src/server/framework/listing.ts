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
/** Names taken of one folder at once. */
const SCAN_NAMES_MAX = 1_000;

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

/** Every key below a folder by its path relative to it, in key order; a page reads about what it answers. */
export async function scanFolder(
  storage: Pick<StorageView, "list">,
  folder: string,
  { after = "", limit }: Page,
): Promise<readonly string[]> {
  const scan: Scan = { storage, folder, limit, found: [], folders: 0 };
  await scanInto(scan, "", after);
  return scan.found;
}

interface Scan {
  readonly storage: Pick<StorageView, "list">;
  readonly folder: string;
  readonly limit: number;
  readonly found: string[];
  folders: number;
}

const isFull = ({ found, limit, folders }: Scan) => found.length >= limit || folders >= SCAN_FOLDERS_MAX;

/** `after` is relative to `below`: what comes before it is not read again. */
async function scanInto(scan: Scan, below: string, after: string): Promise<void> {
  if (isFull(scan)) return;
  scan.folders++;
  const head = after.slice(0, after.indexOf("/") + 1);
  if (head !== "") await scanInto(scan, below + head, after.slice(head.length));
  let last = head || after;
  while (!isFull(scan)) {
    const limit = Math.min(scan.limit - scan.found.length, SCAN_NAMES_MAX);
    const names = await scan.storage.list(scan.folder + below, { limit, ...(last !== "" && { after: last }) });
    for (const name of names) {
      if (name.endsWith("/")) await scanInto(scan, below + name, "");
      else if (!isFull(scan)) scan.found.push(below + name);
    }
    last = names.at(-1) ?? "";
    if (names.length < limit) return;
  }
}
