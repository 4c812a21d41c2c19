// All entries of one instant: one read transaction of LMDB, kept until it is disposed of. Writers go on beside it, but
// the pages that it sees are not used again meanwhile, so the file grows by what is written in that time.
import type { Database } from "lmdb";
import { CofferError } from "#common/errors.ts";
import { SNAPSHOT_BATCH_BYTES, SNAPSHOT_BATCH_ENTRIES, type StoredEntry } from "../storage.ts";
import { VERSION_BYTES } from "./format.ts";

/** The smallest key there is. */
const FIRST_KEY = "\0";

export class LmdbSnapshot implements Disposable {
  readonly #transaction: ReturnType<Database["useReadTransaction"]>;
  readonly #entries: Iterator<{ key: string; value: Buffer }>;
  #done = false;

  /** Sees what is committed now; whoever opens it has left older reads behind (resetReadTxn). */
  constructor(entries: Database<Buffer, string>) {
    this.#transaction = entries.useReadTransaction();
    this.#entries = entries.getRange({ start: FIRST_KEY, transaction: this.#transaction })[Symbol.iterator]();
  }

  /** The next entries in order; none at the end. Throws `unavailable` when it was disposed of. */
  next(): readonly StoredEntry[] {
    if (this.#done)
      throw new CofferError("unavailable", "the storage was closed or opened again under a snapshot; take another");
    const batch: StoredEntry[] = [];
    let bytes = 0;
    while (bytes < SNAPSHOT_BATCH_BYTES && batch.length < SNAPSHOT_BATCH_ENTRIES) {
      const next = this.#entries.next();
      if (next.done === true) break;
      const { key, value } = next.value;
      batch.push({ key, value: value.subarray(VERSION_BYTES) });
      bytes += value.length;
    }
    return batch;
  }

  [Symbol.dispose](): void {
    if (this.#done) return;
    this.#done = true;
    this.#entries.return?.();
    this.#transaction.done();
  }
}
