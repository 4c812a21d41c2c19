// Storage in memory, for tests and for -dev without a directory: nothing survives the process. Keys stand in a sorted
// array beside the map, so that listing is the same skip scan as in LMDB. Must not be chosen for real data.
import { CofferError } from "#common/errors.ts";
import { assertKey, assertKeyText, assertPrefix, assertWrites, compareKeys, skipScan } from "../key.ts";
import {
  type CommitBatch,
  type Entry,
  type Page,
  type Range,
  SNAPSHOT_BATCH_ENTRIES,
  type Storage,
  type StoredEntry,
} from "../storage.ts";

type Listener = (keys: readonly string[] | "all") => void;

/** An empty store. Several nodes of a test may share one: `watch` reports every commit. */
export function openMemoryStorage(): Storage {
  return new MemoryStorage();
}

class MemoryStorage implements Storage {
  readonly #entries = new Map<string, Entry>();
  readonly #order: string[] = [];
  readonly #listeners = new Set<Listener>();
  #version = 0n;
  #closed = false;

  async get(keys: readonly string[]): Promise<readonly (Entry | undefined)[]> {
    this.#assertOpen();
    return keys.map((key) => {
      assertKey(key);
      return this.#entries.get(key);
    });
  }

  async list(prefix: string, page: Page): Promise<readonly string[]> {
    this.#assertOpen();
    assertPrefix(prefix);
    return skipScan(prefix, page, (from, inclusive) => {
      const at = this.#position(from);
      return !inclusive && this.#order[at] === from ? this.#order[at + 1] : this.#order[at];
    });
  }

  async scan(range: Range): Promise<readonly string[]> {
    this.#assertOpen();
    assertKeyText(range.from);
    assertKeyText(range.to);
    const start = this.#position(range.from);
    const end = Math.max(start, this.#position(range.to));
    return this.#order.slice(start, Math.min(end, start + Math.max(0, range.limit)));
  }

  async commit(batch: CommitBatch): Promise<"committed" | "conflict"> {
    this.#assertOpen();
    assertWrites(batch.writes);
    for (const [key, version] of batch.expected) {
      if (this.#entries.get(key)?.version !== version) return "conflict";
    }
    if (batch.writes.size === 0) return "committed";
    this.#version++;
    for (const [key, value] of batch.writes) this.#apply(key, value);
    const keys = [...batch.writes.keys()];
    for (const listener of this.#listeners) listener(keys);
    return "committed";
  }

  watch(onChange: Listener): Disposable {
    // A wrapper, so that the same function given twice is two watches.
    const listener: Listener = (keys) => onChange(keys);
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  async *snapshot(): AsyncGenerator<readonly StoredEntry[]> {
    this.#assertOpen();
    // Entries never change; a write puts another one in their place.
    const entries = [...this.#order].map((key) => ({ key, value: this.#entries.get(key)?.value ?? new Uint8Array() }));
    for (let at = 0; at < entries.length; at += SNAPSHOT_BATCH_ENTRIES) {
      this.#assertOpen();
      yield entries.slice(at, at + SNAPSHOT_BATCH_ENTRIES);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
  }

  #apply(key: string, value: Uint8Array | null): void {
    const known = this.#entries.has(key);
    if (value === null) {
      if (known) this.#order.splice(this.#position(key), 1);
      this.#entries.delete(key);
      return;
    }
    if (!known) this.#order.splice(this.#position(key), 0, key);
    this.#entries.set(key, { value: Uint8Array.from(value), version: this.#version });
  }

  /** Index of the first key that is not before the given one. */
  #position(key: string): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const candidate = this.#order[middle];
      if (candidate !== undefined && compareKeys(candidate, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #assertOpen(): void {
    if (this.#closed) throw new CofferError("unavailable", "the storage is closed");
  }
}
