// What an LMDB store's machine has to say: which processes have it open (they hold a lock on lock.mdb; those that read
// stand in LMDB's table of readers, too), and how much the disk has left. Never reads entries.
import { access, statfs } from "node:fs/promises";
import { join } from "node:path";
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { StorageCapacity } from "../registry.ts";
import { holdersOf, nearestFolder } from "./files.ts";
import { openEnvironment } from "./open.ts";

/** Process ids of others, each once. Throws `invalid_request` where there is no store, rather than making one. */
export async function usersOf(path: string, log: Log): Promise<readonly number[]> {
  if (!(await exists(join(path, "data.mdb"))))
    throw new CofferError("invalid_request", `there is no store in ${path}; check storage.path`);
  const { root } = await openEnvironment({ path, log });
  try {
    root.readerCheck();
    const pids = [...readersIn(root.readerList()), ...(await holdersOf(join(path, "lock.mdb")))];
    return [...new Set(pids)].filter((pid) => pid !== process.pid);
  } finally {
    await root.close();
  }
}

/** The process ids of mdb_reader_list's table: a heading, then "pid thread txnid" in each line. */
export function readersIn(table: string): readonly number[] {
  const pids = table.split("\n").map((line) => Number(/^\s*(\d+)\s/.exec(line)?.[1] ?? 0));
  return [...new Set(pids.filter((pid) => pid > 0))];
}

/** Of the disk that the directory is on, or will be. */
export async function capacityOf(path: string): Promise<StorageCapacity> {
  const folder = await nearestFolder(path);
  const { bavail, bsize } = await statfs(folder);
  return { freeBytes: bavail * bsize, freeOf: `the disk of ${folder}` };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
