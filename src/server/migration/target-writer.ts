// Writes a copy in batches that the target's storage takes, each only while the migration's mark is this run's: a run
// that another one has taken over writes nothing any more. Never looks into values.
import { CofferError } from "#common/errors.ts";
import { MIGRATION_KEY } from "../storage/migration-record.ts";
import type { StorageCapacity } from "../storage/registry.ts";
import type { Storage } from "../storage/storage.ts";

const BATCH_ENTRIES = 500;
const BATCH_BYTES = 512 * 1024;

export class TargetWriter {
  readonly #storage: Storage;
  readonly #mark: bigint;
  readonly #entriesMax: number;
  readonly #bytesMax: number;
  #expected = new Map<string, bigint | undefined>();
  #writes = new Map<string, Uint8Array | null>();
  #bytes = 0;

  /** `mark`: the version of this run's mark in the target. */
  constructor(storage: Storage, mark: bigint, { batchEntriesMax, valueBytesMax }: StorageCapacity) {
    this.#storage = storage;
    this.#mark = mark;
    this.#entriesMax = Math.min(BATCH_ENTRIES, batchEntriesMax ?? BATCH_ENTRIES);
    this.#bytesMax = Math.min(BATCH_BYTES, (valueBytesMax ?? Infinity) / 2);
  }

  /** A value, or null to remove what is there. `version`: what the target has there now. */
  async put(key: string, value: Uint8Array | null, version: bigint | undefined): Promise<void> {
    const bytes = 2 * Buffer.byteLength(key) + (value?.length ?? 0);
    if (this.#writes.size > 0 && this.#bytes + bytes > this.#bytesMax) await this.flush();
    this.#expected.set(key, version);
    this.#writes.set(key, value);
    this.#bytes += bytes;
    if (this.#writes.size >= this.#entriesMax) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#writes.size === 0) return;
    await this.#commit(this.#expected, this.#writes);
    this.#expected = new Map();
    this.#writes = new Map();
    this.#bytes = 0;
  }

  /** Removes the mark: from now on servers accept the store. */
  async finish(): Promise<void> {
    await this.flush();
    await this.#commit(new Map(), new Map([[MIGRATION_KEY, null]]));
  }

  async #commit(
    expected: Map<string, bigint | undefined>,
    writes: ReadonlyMap<string, Uint8Array | null>,
  ): Promise<void> {
    const outcome = await this.#storage.commit({ expected: expected.set(MIGRATION_KEY, this.#mark), writes });
    if (outcome === "committed") return;
    const message =
      "something else writes to the destination, perhaps another migration; let only one run, then try again";
    throw new CofferError("conflict", message);
  }
}
