// Records of a snapshot, decrypted by this store's keyring: what is needed to bring one item back without the rest. A
// snapshot of other keys is refused, for nothing here could open it.
import { CofferError } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import type { Barrier } from "../barrier/barrier.ts";
import { MOUNT_PREFIX, type MountRecord, mountKind } from "../mounts/mount-record.ts";
import { MAC_PURPOSE } from "./format.ts";
import { isAuthentic } from "./read-snapshot.ts";
import type { Spool } from "./spool.ts";

/** What one request brings back at most: it is one transaction, and etcd's have limits. */
export const ITEM_RECORDS_MAX = 5_000;
export const ITEM_BYTES_MAX = 16 * 1024 * 1024;

export type Records = ReadonlyMap<string, Uint8Array>;

export class SnapshotItems {
  readonly #spool: Spool;
  readonly #barrier: Barrier;

  /** Throws `invalid_request` for a snapshot that was not made under this store's keys. */
  constructor(spool: Spool, barrier: Barrier) {
    const own = barrier.derivedKey(MAC_PURPOSE, spool.checked.sealed.term);
    if (!own || !isAuthentic(spool.checked, own.key))
      throw new CofferError("invalid_request", "the snapshot is not of this store's keys, or it was changed");
    this.#spool = spool;
    this.#barrier = barrier;
  }

  /** The records of these keys, and their plaintexts. Throws `too_large` when there are more than one request may hold. */
  async records(isWanted: (key: string) => boolean): Promise<Records> {
    const found = new Map<string, Uint8Array>();
    let bytes = 0;
    for await (const chunk of this.#spool.chunks()) {
      for (const { key, value } of chunk) {
        if (!isWanted(key)) continue;
        bytes += value.length;
        if (found.size >= ITEM_RECORDS_MAX || bytes > ITEM_BYTES_MAX) throw tooMuch();
        found.set(key, this.#barrier.reveal(key, value));
      }
    }
    return found;
  }

  /** The mount that served a path of the API then, in the root namespace. */
  async mountOf(path: string): Promise<MountRecord | undefined> {
    const mounts = [...(await this.records((key) => key.startsWith(MOUNT_PREFIX))).values()].map((bytes) =>
      mountKind.schema.parse(parseJson(Buffer.from(bytes).toString("utf8")), mountKind.name),
    );
    return mounts.find((mount) => `${path}/`.startsWith(mount.path));
  }
}

function tooMuch(): CofferError {
  const most = `${ITEM_RECORDS_MAX} records or ${ITEM_BYTES_MAX} bytes`;
  return new CofferError(
    "too_large",
    `the item has more than ${most}; restore the snapshot to another server and copy it from there`,
  );
}
