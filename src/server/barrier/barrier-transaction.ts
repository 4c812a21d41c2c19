// A Transaction over a Storage and the keyring: remembers the version of all that is read, buffers all that is written,
// encrypts at commit. Must not know what the keys mean. How lists see this transaction's own writes is in overlay.ts.
import assert from "node:assert";
import { CofferError } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import type { Entry, Page, Range, Storage } from "../storage/storage.ts";
import { KEYRING_KEY } from "./keyring.ts";
import { type KeyringChange, ROOT_KEY_KEY } from "./open-keyring.ts";
import { listWithWrites, scanWithWrites } from "./overlay.ts";
import { isPlainKey } from "./plain-store.ts";
import type { RecordCache } from "./record-cache.ts";
import { FENCE_KEY } from "./term-fence.ts";
import type { RecordKind, Transaction } from "./transaction.ts";

/** What a transaction needs of the barrier. */
export interface Cryptor {
  /** Decrypts at once, or gives undefined when a key for it is not in this process yet. Throws `internal`. */
  decrypt(key: string, envelope: Uint8Array): Uint8Array | undefined;
  /** Decrypts after looking for a newer keyring, and asking the seal. Throws `internal`, `unavailable`. */
  decryptAfterReload(key: string, envelope: Uint8Array): Promise<Uint8Array>;
  /** Encrypts values and commits them with the read set; `critical` ones get the seal's layer first. */
  commit(
    expected: Map<string, bigint | undefined>,
    writes: ReadonlyMap<string, Uint8Array | null>,
    critical: ReadonlySet<string>,
    keys?: KeyringChange,
  ): Promise<"committed" | "conflict">;
}

export class BarrierTransaction implements Transaction {
  readonly #storage: Storage;
  readonly #cryptor: Cryptor;
  readonly #cache: RecordCache;
  readonly #reads = new Map<string, Entry | undefined>();
  readonly #writes = new Map<string, Uint8Array | null>();
  /** Of the writes, those that get the seal's layer. */
  readonly #critical = new Set<string>();
  #keys: KeyringChange | undefined;
  #finished = false;

  constructor(storage: Storage, cryptor: Cryptor, cache: RecordCache) {
    this.#storage = storage;
    this.#cryptor = cryptor;
    this.#cache = cache;
  }

  get dirty(): boolean {
    return this.#writes.size > 0 || this.#keys !== undefined;
  }

  /** Of a key that was read; undefined for one that is not there. */
  versionOf(key: string): bigint | undefined {
    return this.#reads.get(key)?.version;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const written = this.#writes.get(key);
    if (written !== undefined) return written ?? undefined;
    const entry = this.#reads.has(key) ? this.#reads.get(key) : await this.#fetch(key);
    return entry === undefined ? undefined : this.#decrypt(key, entry);
  }

  async prefetch(keys: readonly string[]): Promise<void> {
    const wanted: string[] = [];
    for (const key of keys) if (!this.#reads.has(key) && !this.#writes.has(key)) wanted.push(key);
    if (wanted.length === 0) return;
    for (const key of wanted) assertOrdinary(key);
    const entries = await this.#storage.get(wanted);
    let i = 0;
    for (const key of wanted) this.#remember(key, entries[i++]);
  }

  put(key: string, value: Uint8Array, critical = false): void {
    this.#assertWritable(key);
    this.#writes.set(key, value);
    if (critical) this.#critical.add(key);
    else this.#critical.delete(key);
  }

  delete(key: string): void {
    this.#assertWritable(key);
    this.#writes.set(key, null);
  }

  changeKeys(change: KeyringChange): void {
    assert(!this.#finished && this.#keys === undefined, "a transaction changes the keyring once, before its commit");
    this.#keys = change;
  }

  list(prefix: string, page: Page): Promise<readonly string[]> {
    return this.#writes.size > 0
      ? listWithWrites(this.#storage, this.#writes, prefix, page)
      : this.#storage.list(prefix, page);
  }

  scan(range: Range): Promise<readonly string[]> {
    return this.#writes.size > 0 ? scanWithWrites(this.#storage, this.#writes, range) : this.#storage.scan(range);
  }

  async read<T>(kind: RecordKind<T>, key: string): Promise<T | undefined> {
    const written = this.#writes.get(key);
    if (written !== undefined) return written === null ? undefined : decodeRecord(kind, key, written);
    const entry = this.#reads.has(key) ? this.#reads.get(key) : await this.#fetch(key);
    if (entry === undefined) return undefined;
    if (kind.cached) {
      const cached = this.#cache.get(kind, key, entry.version);
      if (cached !== undefined) return cached;
    }
    const record = decodeRecord(kind, key, await this.#decrypt(key, entry));
    if (kind.cached && entry.value.length <= kind.cachedBytesMax) this.#cache.set(kind, key, entry.version, record);
    return record;
  }

  write<T extends object>(_kind: RecordKind<T>, key: string, record: T, critical = false): void {
    // Encoded now, so that what the caller does with the object later changes nothing.
    this.put(key, Buffer.from(JSON.stringify(record), "utf8"), critical);
  }

  async isCurrent(): Promise<boolean> {
    const outcome = await this.#storage.commit({ expected: this.#expected(), writes: new Map() });
    return outcome === "committed";
  }

  async commit(): Promise<"committed" | "conflict"> {
    assert(!this.#finished, "a transaction commits once");
    this.#finished = true;
    if (!this.dirty) return "committed";
    return this.#cryptor.commit(this.#expected(), this.#writes, this.#critical, this.#keys);
  }

  #expected(): Map<string, bigint | undefined> {
    const expected = new Map<string, bigint | undefined>();
    for (const [key, entry] of this.#reads) expected.set(key, entry?.version);
    return expected;
  }

  async #fetch(key: string): Promise<Entry | undefined> {
    assertOrdinary(key);
    const entries = await this.#storage.get([key]);
    return this.#remember(key, entries[0]);
  }

  /** Keeps what was seen first: two reads at once of one key must not put two versions into one transaction. */
  #remember(key: string, entry: Entry | undefined): Entry | undefined {
    if (this.#reads.has(key)) return this.#reads.get(key);
    this.#reads.set(key, entry);
    return entry;
  }

  #decrypt(key: string, entry: Entry): Uint8Array | Promise<Uint8Array> {
    return this.#cryptor.decrypt(key, entry.value) ?? this.#cryptor.decryptAfterReload(key, entry.value);
  }

  #assertWritable(key: string): void {
    assert(!this.#finished, "a transaction takes no writes after its commit");
    assertOrdinary(key);
  }
}

/** The barrier's own keys and the seals' blobs are out of reach for everybody above it. */
export function isBarrierKey(key: string): boolean {
  return key === KEYRING_KEY || key === FENCE_KEY || key === ROOT_KEY_KEY || isPlainKey(key);
}

function assertOrdinary(key: string): void {
  if (isBarrierKey(key))
    throw new CofferError("internal", `the path ${key} belongs to the barrier and cannot be used in a transaction`);
}

function decodeRecord<T>(kind: RecordKind<T>, key: string, plaintext: Uint8Array): T {
  try {
    const text = Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.length).toString("utf8");
    return kind.schema.parse(parseJson(text));
  } catch (cause) {
    const message = `the ${kind.name} at path ${key} cannot be read; it is damaged or was written by a newer version`;
    throw new CofferError("internal", message, { cause });
  }
}
