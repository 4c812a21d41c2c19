// Takes a snapshot: the entries of one instant as a stream in the format of format.ts. Memory stays at a few members,
// however much there is: nothing is read from the storage before what was read is taken away.
import { createHash, createHmac, type KeyObject, randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { createGzip } from "node:zlib";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { formatTime } from "#common/rfc3339.ts";
import type { Barrier } from "../barrier/barrier.ts";
import { readSeal } from "../core/seal-store.ts";
import type { Storage, StoredEntry } from "../storage/storage.ts";
import {
  CHUNK_BYTES,
  chunkName,
  encodeEntry,
  encodeMeta,
  encodeSealed,
  encodeTrailer,
  MAC_PURPOSE,
  META,
  SEALED_SUMS,
  type SnapshotMeta,
  SUMS,
  sumLine,
  TRAILER,
} from "./format.ts";
import { TAR_END, tarHeader, tarPadding } from "./tar.ts";

export interface SnapshotOrigin {
  readonly storage: Storage;
  readonly barrier: Barrier;
  readonly clock: Clock;
  readonly storageType: string;
  readonly clusterName: string;
  readonly clusterId: string;
  readonly version: string;
}

export interface SnapshotStream {
  readonly id: string;
  /** The compressed bytes. Destroying it lets go of the storage. */
  readonly bytes: Readable;
  /** Entries that were read so far. */
  entries(): number;
}

/** The least effort: values are ciphertext, only keys and padding become smaller. */
const GZIP = { level: 1 };
/** The keyring may rotate while the first entries are read; it does not do so twice. */
const ATTEMPTS = 3;

/** Begins a snapshot; the instant is now. Throws `sealed` or `unavailable`. */
export async function takeSnapshot(origin: SnapshotOrigin): Promise<SnapshotStream> {
  const { storage, barrier } = origin;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const seal = barrier.derivedKey(MAC_PURPOSE);
    if (seal === undefined) break;
    const meta = await metaOf(origin);
    const batches = storage.snapshot();
    const first = await batches.next();
    // The key must be one that the snapshot's own keyring has, and its newest.
    if (barrier.keyStatus().term === seal.term) return stream(meta, seal, prepend(first, batches), origin.clock.now());
    await batches.return(undefined);
  }
  throw new CofferError("unavailable", "the keyring kept changing; try again");
}

async function metaOf(origin: SnapshotOrigin): Promise<SnapshotMeta> {
  const seals = (await readSeal(origin.storage))?.keys.root ?? [];
  return {
    id: randomUUID(),
    created: formatTime(origin.clock.now()),
    cluster_name: origin.clusterName,
    cluster_id: origin.clusterId,
    storage: origin.storageType,
    coffer_version: origin.version,
    seals: seals.map(({ seal, keyId }) => ({ name: seal, key_id: keyId })),
  };
}

async function* prepend<T>(first: IteratorResult<T>, rest: AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    if (first.done !== true) yield first.value;
    yield* rest;
  } finally {
    await rest.return(undefined);
  }
}

function stream(meta: SnapshotMeta, seal: MacKey, batches: AsyncGenerator<readonly StoredEntry[]>, now: Millis) {
  const writer = new Writer(meta, seal, now);
  const plain = Readable.from(writer.archive(batches), { objectMode: false, highWaterMark: CHUNK_BYTES });
  const bytes = createGzip(GZIP);
  plain.on("error", (error) => bytes.destroy(error));
  bytes.on("close", () => plain.destroy());
  plain.pipe(bytes);
  return { id: meta.id, bytes, entries: () => writer.entries };
}

export interface MacKey {
  readonly term: number;
  readonly key: KeyObject;
}

/** The members of one archive; for tests the archive before it is compressed. */
export class Writer {
  readonly #meta: SnapshotMeta;
  readonly #seal: MacKey;
  readonly #seconds: number;
  readonly #all = createHash("sha256");
  #sums = "";
  #bytes = 0;
  entries = 0;

  constructor(meta: SnapshotMeta, seal: MacKey, now: Millis) {
    this.#meta = meta;
    this.#seal = seal;
    this.#seconds = Math.floor(now / 1000);
  }

  async *archive(batches: AsyncIterable<readonly StoredEntry[]>): AsyncGenerator<Buffer> {
    yield this.#summed(META, encodeMeta(this.#meta));
    let index = 0;
    for await (const chunk of this.#chunks(batches)) yield this.#summed(chunkName(index++), chunk);
    const trailer = { entries: this.entries, bytes: this.#bytes, sha256: this.#all.digest("hex") };
    yield this.#summed(TRAILER, encodeTrailer(trailer));
    const sums = Buffer.from(this.#sums);
    yield this.#member(SUMS, sums);
    const mac = createHmac("sha256", this.#seal.key).update(sums).digest("base64");
    yield this.#member(SEALED_SUMS, encodeSealed({ term: this.#seal.term, mac }));
    yield TAR_END;
  }

  async *#chunks(batches: AsyncIterable<readonly StoredEntry[]>): AsyncGenerator<Buffer> {
    let parts: Uint8Array[] = [];
    let size = 0;
    for await (const batch of batches) {
      for (const entry of batch) {
        const encoded = encodeEntry(entry);
        parts.push(...encoded);
        for (const part of encoded) size += part.length;
        this.entries++;
        if (size < CHUNK_BYTES) continue;
        yield Buffer.concat(parts, size);
        [parts, size] = [[], 0];
      }
    }
    if (size > 0) yield Buffer.concat(parts, size);
  }

  #summed(name: string, content: Buffer): Buffer {
    if (name.startsWith("entries/")) {
      this.#all.update(content);
      this.#bytes += content.length;
    }
    this.#sums += sumLine(createHash("sha256").update(content).digest("hex"), name);
    return this.#member(name, content);
  }

  #member(name: string, content: Buffer): Buffer {
    return Buffer.concat([tarHeader(name, content.length, this.#seconds), content, tarPadding(content.length)]);
  }
}
