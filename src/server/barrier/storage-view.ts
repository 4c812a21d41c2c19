// A mount's own part of a transaction: everything below one prefix and nothing else. Paths are plain strings that are
// appended to the prefix, so nothing in them can lead out of it; ".." is refused all the same, because a reader of
// backups or logs would take it for a way out.
import { CofferError } from "#common/errors.ts";
import type { StorageView, Transaction } from "./transaction.ts";

/**
 * The view below a prefix, which must end in "/". `critical`: the prefixes within it of what gets the seal's layer.
 * Throws `invalid_request` for paths that are empty or have "..".
 */
export function storageView(tx: Transaction, prefix: string, critical: readonly string[] = []): StorageView {
  if (!prefix.endsWith("/")) throw new CofferError("internal", `the storage prefix ${prefix} does not end in /`);
  const inside = (path: string): string => {
    if (path === "") throw new CofferError("invalid_request", "the path is empty; name what to read or write");
    return prefix + confined(path);
  };
  const isCritical = (path: string) => critical.some((start) => path.startsWith(start));
  return {
    get: (key) => tx.get(inside(key)),
    prefetch: (keys) => tx.prefetch(keys.map(inside)),
    put: (key, value) => tx.put(inside(key), value, isCritical(key)),
    delete: (key) => tx.delete(inside(key)),
    list: (folder, page) => tx.list(prefix + confined(folder), page),
    read: (kind, key) => tx.read(kind, inside(key)),
    write: (kind, key, record) => tx.write(kind, inside(key), record, isCritical(key)),
  };
}

function confined(path: string): string {
  if (path.includes("..") && path.split("/").includes(".."))
    throw new CofferError("invalid_request", "the path has a segment .. in it; leave it out");
  return path;
}
