// The storage seam: a versioned key-value store with atomic multi-key commits. It sees only ciphertext (invariant I4)
// and knows nothing of mounts or tokens. test/conformance/storage holds every implementation against one model.

export interface Entry {
  readonly value: Uint8Array;
  /** Grows with every write of the store; a key deleted and written again has a new one. */
  readonly version: bigint;
}

export interface Page {
  /** Names after this one only. */
  readonly after?: string;
  readonly limit: number;
}

export interface Range {
  /** First key, inclusive. */
  readonly from: string;
  /** End, exclusive. */
  readonly to: string;
  readonly limit: number;
}

export interface CommitBatch {
  /** The read set: key -> the version read, or undefined where there was nothing. */
  readonly expected: ReadonlyMap<string, bigint | undefined>;
  /** Key -> new value, or null to delete. */
  readonly writes: ReadonlyMap<string, Uint8Array | null>;
}

export interface Storage {
  /** Reads several keys in one round trip; the answer has their order. */
  get(keys: readonly string[]): Promise<readonly (Entry | undefined)[]>;
  /** One level below a prefix (which is "" or ends in "/"), in key order; folders end in "/" and are named once. */
  list(prefix: string, page: Page): Promise<readonly string[]>;
  /** Keys of a range in order (the expiry index). */
  scan(range: Range): Promise<readonly string[]>;
  /**
   * All of it or nothing; durable when it resolves with "committed". Throws `unconfirmed` when it may have been done, now
   * or in a moment; with every other failure nothing was written.
   */
  commit(batch: CommitBatch): Promise<"committed" | "conflict">;
  /** Tells which keys other processes changed; may say only "all". */
  watch(onChange: (keys: readonly string[] | "all") => void): Disposable;
  /**
   * Every entry as of one instant, in key order, in batches of about SNAPSHOT_BATCH_BYTES. The instant lies between
   * asking for the first batch and getting it; writers are not held up meanwhile. What it costs (old pages, old rows,
   * history kept) is held until the generator ends or is returned, so let it end. Throws `unavailable` when the instant
   * is lost.
   */
  snapshot(): AsyncGenerator<readonly StoredEntry[]>;
  /** How large the store is, as last known; undefined where that cannot be told. Cheap: asked for at each scrape. */
  usage?(): StorageUsage | undefined;
  close(): Promise<void>;
}

/** In bytes. */
export interface StorageUsage {
  /** What the store takes, free pages included; undefined when that is not known, as the others. */
  readonly sizeBytes: number | undefined;
  /** What of it is in use. */
  readonly usedBytes: number | undefined;
  /** What it can grow to. */
  readonly limitBytes?: number | undefined;
  /** LMDB's address space. */
  readonly mapBytes?: number;
  /** Why it cannot be written to, or soon cannot: a sentence with the next step and nothing secret. */
  readonly trouble?: string | undefined;
}

/** An entry without its version, which means nothing in another store. */
export interface StoredEntry {
  readonly key: string;
  readonly value: Uint8Array;
}

/** Of a batch of a snapshot: enough that its overhead does not count, little beside a server's memory. */
export const SNAPSHOT_BATCH_BYTES = 1024 * 1024;
/** Entries of a batch, however small. */
export const SNAPSHOT_BATCH_ENTRIES = 1_024;

/**
 * Longest key in UTF-8 bytes. PostgreSQL's index takes 2,704 with its header, LMDB at page size 8192 4,026 (measured);
 * the API's paths have at most 2,048, so all of them fit.
 */
export const KEY_BYTES_MAX = 2_640;
/** Largest value. A larger one is refused with `too_large` before anything is written. */
export const VALUE_BYTES_MAX = 32 * 1024 * 1024;
