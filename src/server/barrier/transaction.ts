// One request's view of the barrier (invariant I1): reads go through the keyring and are remembered with their
// versions, writes are buffered, and `commit` makes all of it true at once or none. This file is the seam; the
// implementation over a Storage is barrier-transaction.ts.
import type { JsonObject } from "#common/json.ts";
import type { Schema } from "#common/schema.ts";
import type { Page, Range } from "../storage/storage.ts";
import type { KeyringChange } from "./open-keyring.ts";

/** How a kind of record is written: its name for messages, its schema, and whether decoded copies may stay in memory. */
export interface RecordKind<T> {
  readonly name: string;
  readonly schema: Schema<T>;
  /**
   * Decoded records may be kept in memory while their version is current (invariant I2): for what authorises and
   * routes, and what every read of a secret needs beside it. Never for secret values.
   */
  readonly cached: boolean;
  /** Longer ones are read anew each time. */
  readonly cachedBytesMax: number;
}

export interface Transaction {
  /** Plaintext of a key, or undefined. Sees this transaction's own writes. */
  get(key: string): Promise<Uint8Array | undefined>;
  /** Fetches keys in one round trip, so that later `get`s and `read`s of them cost none. */
  prefetch(keys: readonly string[]): Promise<void>;
  /** `critical`: by the seal's layer as well, where there is a seal for it. */
  put(key: string, value: Uint8Array, critical?: boolean): void;
  delete(key: string): void;
  /** One level below a prefix in key order, this transaction's own writes included. */
  list(prefix: string, page: Page): Promise<readonly string[]>;
  scan(range: Range): Promise<readonly string[]>;
  /** A record by its kind; treat what comes back as frozen: it may be shared. */
  read<T>(kind: RecordKind<T>, key: string): Promise<T | undefined>;
  /** Replaces a record. The value must be plain JSON (undefined members are left out). */
  write<T extends object>(kind: RecordKind<T>, key: string, record: T, critical?: boolean): void;
  /** A change of the keyring that belongs to this commit; barrier.ts makes it. */
  changeKeys(change: KeyringChange): void;
  /** True once something was put or deleted. */
  readonly dirty: boolean;
  /** Whether all that was read is still so. False: what was seen may never have been there together. */
  isCurrent(): Promise<boolean>;
  commit(): Promise<"committed" | "conflict">;
}

/** A mount's own part of a transaction: the same operations below a prefix that it cannot leave. */
export type StorageView = Pick<Transaction, "get" | "prefetch" | "put" | "delete" | "list" | "read" | "write">;

export function recordKind<T>(
  name: string,
  schema: Schema<T>,
  {
    cached = false,
    cachedBytesMax = Number.POSITIVE_INFINITY,
  }: Partial<Pick<RecordKind<T>, "cached" | "cachedBytesMax">> = {},
): RecordKind<T> {
  return { name, schema, cached, cachedBytesMax };
}

/** JSON objects as they are, for backends whose records are the client's own data. */
export type JsonRecord = JsonObject;
