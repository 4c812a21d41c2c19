// Decoded records by storage key, shared by all transactions of a process. An entry is used only while its version is
// the one that storage has just named (invariant I2), so the cache saves decrypting and parsing, never a read. Holds
// nothing but kinds that are declared `cached`, which are never secret values.
import type { RecordKind } from "./transaction.ts";

interface Cached {
  readonly kind: unknown;
  readonly version: bigint;
  readonly record: unknown;
}

/** Enough for the mounts, policies and tokens in use at once on a busy node; about a kilobyte each. */
const RECORDS_MAX = 20_000;

export class RecordCache {
  readonly #records = new Map<string, Cached>();
  readonly #max: number;

  constructor(max: number = RECORDS_MAX) {
    this.#max = max;
  }

  /** The record of this key at exactly this version and kind, or undefined. */
  get<T>(kind: RecordKind<T>, key: string, version: bigint): T | undefined {
    const cached = this.#records.get(key);
    if (cached === undefined || cached.version !== version || cached.kind !== kind) return undefined;
    return cached.record as T; // Stored by `set` with this very kind, whose schema made it a T.
  }

  set<T>(kind: RecordKind<T>, key: string, version: bigint, record: T): void {
    // Delete first: a Map keeps insertion order, so the oldest written goes first when the cache is full.
    this.#records.delete(key);
    this.#records.set(key, { kind, version, record });
    if (this.#records.size <= this.#max) return;
    const oldest = this.#records.keys().next();
    if (oldest.done !== true) this.#records.delete(oldest.value);
  }

  clear(): void {
    this.#records.clear();
  }
}
