// The mark of a store whose entries are being replaced by those of a snapshot. While it is there no server opens or
// serves the store; the commit that removes it is the moment from which the snapshot counts. Format 1, plain, at
// core/seal-restore:
//
//   { "format": "coffer-restore", "version": 1, "run": unique to each run, "snapshot": id of the snapshot, "begun": ms }
import { CofferError } from "#common/errors.ts";
import type { Storage } from "./storage.ts";

/** Among the plain blobs, which no transaction writes, so that nothing of a mount can pass for it. */
export const RESTORE_KEY = "core/seal-restore";

export interface RestoreRecord {
  readonly run: string;
  readonly snapshot: string;
  readonly begun: number;
}

export function encodeRestore(record: RestoreRecord): Uint8Array {
  return Buffer.from(JSON.stringify({ format: "coffer-restore", version: 1, ...record }));
}

/** Whether a snapshot is being put in place, or was and has not come to its end. */
export async function isBeingRestored(storage: Storage): Promise<boolean> {
  const [mark] = await storage.get([RESTORE_KEY]);
  return mark !== undefined;
}

/** Throws `unavailable` for a store that a restore has not finished: it holds a part of the data. */
export function assertRestored(mark: unknown): void {
  if (mark === undefined) return;
  const message =
    "a snapshot is being restored to this storage, which holds only a part of the data; if that was interrupted, run `coffer server -restore=FILE` with the configuration of this server";
  throw new CofferError("unavailable", message);
}
