// A snapshot that has come in, kept in a file of its own while it is checked: nothing of the store is touched before the
// last byte of it is known to be right. The file holds what the storage holds: ciphertext.
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CofferError, messageOf } from "#common/errors.ts";
import { isBarrierKey } from "../barrier/barrier-transaction.ts";
import { envelopeTerm } from "../barrier/envelope.ts";
import { KEYRING_KEY } from "../barrier/keyring.ts";
import { SEAL_KEYS_KEY } from "../core/seal-store.ts";
import { RESTORE_KEY } from "../storage/restore-record.ts";
import type { StoredEntry } from "../storage/storage.ts";
import { damaged } from "./format.ts";
import { type CheckedSnapshot, SnapshotReader } from "./read-snapshot.ts";

/** A compressed snapshot at most: a hundred times what a large cluster holds. */
export const SNAPSHOT_BYTES_MAX = 256 * 1024 ** 3;

export interface SpoolLimits {
  readonly bytesMax: number;
  /** The largest value that the storage takes. */
  readonly valueBytesMax: number;
}

export class Spool implements AsyncDisposable {
  readonly checked: CheckedSnapshot;
  /** What opens the snapshot's own entries: its keyring, and the seals' copies of the key to that. */
  readonly keyring: Uint8Array | undefined;
  readonly sealKeys: Uint8Array | undefined;
  /** Of the keyring, under which its values are. */
  readonly terms: ReadonlySet<number>;
  readonly #file: string;
  readonly #folder: string | undefined;

  private constructor(file: string, folder: string | undefined, found: Found) {
    this.checked = found.checked;
    this.keyring = found.keyring;
    this.sealKeys = found.sealKeys;
    this.terms = found.terms;
    this.#file = file;
    this.#folder = folder;
  }

  /** Takes in a stream and checks it. Throws `invalid_request`, `too_large` or, with a full disk, `unavailable`. */
  static async receive(bytes: AsyncIterable<Uint8Array>, limits: SpoolLimits, parent = tmpdir()): Promise<Spool> {
    const folder = await mkdtemp(join(parent, "coffer-snapshot-"));
    const file = join(folder, "snapshot");
    try {
      await write(bytes, file, limits.bytesMax);
      return new Spool(file, folder, await check(file, limits));
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Checks a file that is there already and stays. */
  static async open(file: string, limits: SpoolLimits): Promise<Spool> {
    return new Spool(file, undefined, await check(file, limits));
  }

  /** The entries once more, checked once more, a member at a time. */
  async *chunks(): AsyncGenerator<readonly StoredEntry[]> {
    const reader = new SnapshotReader(createReadStream(this.#file));
    const meta = await reader.meta();
    yield* reader.chunks(meta);
    if (!reader.finish().sums.equals(this.checked.sums)) throw damaged("it was changed while it was read");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

async function write(bytes: AsyncIterable<Uint8Array>, file: string, bytesMax: number): Promise<void> {
  let size = 0;
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > bytesMax) done(new CofferError("too_large", `the snapshot is larger than ${bytesMax} bytes`));
      else done(null, chunk);
    },
  });
  try {
    await pipeline(bytes, counted, createWriteStream(file, { mode: 0o600 }));
  } catch (error) {
    if (error instanceof CofferError) throw error;
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const isDisk = code === "ENOSPC" || code === "EDQUOT" || code === "EROFS";
    const advice = isDisk ? "; give the server's folder for temporary files (TMPDIR) more room" : "";
    throw new CofferError("unavailable", `the snapshot did not arrive whole (${messageOf(error)})${advice}`, {
      cause: error,
    });
  }
}

interface Found {
  checked: CheckedSnapshot;
  keyring: Uint8Array | undefined;
  sealKeys: Uint8Array | undefined;
  terms: ReadonlySet<number>;
}

async function check(file: string, { valueBytesMax }: SpoolLimits): Promise<Found> {
  const reader = new SnapshotReader(createReadStream(file));
  const meta = await reader.meta();
  let [keyring, sealKeys]: readonly Uint8Array[] = [];
  const terms = new Set<number>();
  for await (const chunk of reader.chunks(meta)) {
    for (const { key, value } of chunk) {
      if (key === KEYRING_KEY) keyring = Buffer.from(value);
      if (key === SEAL_KEYS_KEY) sealKeys = Buffer.from(value);
      const term = isBarrierKey(key) ? undefined : envelopeTerm(value);
      if (term !== undefined) terms.add(term);
      if (key === RESTORE_KEY) throw damaged("it was taken of a store that was being restored");
      if (value.length > valueBytesMax) {
        const message = `the snapshot has a value of ${value.length} bytes, and this storage takes ${valueBytesMax}`;
        throw new CofferError("too_large", `${message}; restore it to another kind of storage`);
      }
    }
  }
  return { checked: reader.finish(), keyring, sealKeys, terms };
}
