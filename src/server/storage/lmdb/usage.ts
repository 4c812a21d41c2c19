// How large an LMDB store is, from the counts that LMDB keeps of its pages: some microseconds, whatever its size.
import { statSync } from "node:fs";
import { join } from "node:path";
import type { StorageUsage } from "../storage.ts";
import type { Environment } from "./open.ts";

/** The first two pages tell which root is the newest. */
const META_PAGES = 2;

export interface LmdbUsage extends StorageUsage {
  readonly sizeBytes: number;
  readonly usedBytes: number;
}

/** Pages of one B+ tree, as lmdb-js gives them. */
interface Tree {
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}
interface Stats extends Tree {
  readonly pageSize: number;
  readonly mapSize: number;
  /** The main tree, which holds the others. */
  readonly root: Tree;
  /** The tree of the free pages' numbers. */
  readonly free: Tree;
}

/**
 * The size of the store's file in `path` and how much of it is in use. A write that failed for lack of room leaves the
 * file longer than its pages, and later ones use that. `diskFreeBytes` is what the disk has beside the file.
 */
export function usageOf({ entries }: Environment, path: string, diskFreeBytes: number): LmdbUsage {
  const stats = statsOf(entries.getStats());
  const { pageSize, mapSize } = stats;
  const pages = [stats, stats.root, stats.free].reduce((sum, tree) => sum + pagesOf(tree), META_PAGES);
  const sizeBytes = statSync(join(path, "data.mdb")).size;
  return { sizeBytes, usedBytes: pages * pageSize, limitBytes: sizeBytes + diskFreeBytes, mapBytes: mapSize };
}

const pagesOf = ({ treeBranchPageCount, treeLeafPageCount, overflowPages }: Tree) =>
  treeBranchPageCount + treeLeafPageCount + overflowPages;

/** The package's typings leave open what it gives. */
function statsOf(stats: object): Stats {
  if (!isStats(stats)) throw new Error("lmdb gives other statistics than it did");
  return stats;
}

function isStats(stats: object): stats is Stats {
  return isTree(stats) && "root" in stats && isTree(stats.root) && "free" in stats && isTree(stats.free);
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && "treeLeafPageCount" in value && "overflowPages" in value;
}
