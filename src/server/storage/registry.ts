// Every kind of storage, by the name that configuration uses. The only place that knows them all: a new one is its
// folder and one line here. Heavy modules are loaded when a kind is opened, never before.
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import { etcdKind } from "./etcd/kind.ts";
import { lmdbKind } from "./lmdb/kind.ts";
import { memoryKind } from "./memory/kind.ts";
import { postgresKind } from "./postgres/kind.ts";
import type { Storage } from "./storage.ts";

export interface StorageContext {
  readonly log: Log;
  readonly clock: Clock;
  /** The process's environment, for kinds whose field has variables of its own; a stanza wins over them. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** What a kind starts for its conformance tests; undefined when what it needs is not installed. */
export interface StorageFixture {
  readonly config: JsonObject;
  stop(): Promise<void>;
}

/** What limits a copy of a whole store into a storage; what is absent is not known or without end. */
export interface StorageCapacity {
  readonly valueBytesMax?: number;
  /** Writes of one commit. */
  readonly batchEntriesMax?: number;
  readonly freeBytes?: number;
  /** What has these free bytes, for messages: "the disk". */
  readonly freeOf?: string;
  /** What to do about a value that is too large. */
  readonly advice?: string;
}

export interface CopyOptions {
  /** Leaves out what is free inside the store. */
  readonly isCompact: boolean;
  progress?(doneBytes: number, totalBytes: number): void;
}

export interface CopyResult {
  readonly beforeBytes: number;
  readonly afterBytes: number;
}

export interface StorageKind {
  readonly type: string;
  /** Other names in configuration files, among them Vault's for the same use. */
  readonly aliases: readonly string[];
  /** One sentence for the reference docs. */
  readonly doc: string;
  /** Who can share a store: nobody, the processes of one machine, or any number of machines. */
  readonly sharing: "none" | "processes" | "machines";
  /** Whether what was committed is there after a restart. */
  readonly durable: boolean;
  /** Largest value in bytes that a store of default settings takes, where that is below VALUE_BYTES_MAX. */
  readonly valueBytesMax?: number;
  /** Throws `invalid_request` for a wrong configuration, `unavailable` when the storage cannot be reached. */
  open(config: JsonObject, context: StorageContext): Promise<Storage>;
  /** Throws as `open` does. */
  capacity?(config: JsonObject, context: StorageContext): Promise<StorageCapacity>;
  /**
   * The ids of the processes of this machine that have the store open, where that can be told. Throws `invalid_request`
   * where there is no store.
   */
  users?(config: JsonObject, context: StorageContext): Promise<readonly number[]>;
  /** Copies the store to a directory while it is in use. Throws `invalid_request` or `unavailable`. */
  copy?(config: JsonObject, target: string, options: CopyOptions, context: StorageContext): Promise<CopyResult>;
  /** Makes the store smaller while nobody uses it. Throws as `copy` does. */
  compact?(config: JsonObject, options: CopyOptions, context: StorageContext): Promise<CopyResult>;
  startFixture(): Promise<StorageFixture | undefined>;
}

export const storageRegistry: readonly StorageKind[] = [lmdbKind, etcdKind, postgresKind, memoryKind];

/** Throws `invalid_request` naming the kinds that there are. */
export function requireStorageKind(name: string): StorageKind {
  const kind = findStorageKind(name);
  if (kind) return kind;
  const known = storageRegistry.map((candidate) => candidate.type).join(", ");
  throw new CofferError("invalid_request", `there is no storage type ${name}; the types are ${known}`);
}

/** The kind of this name or alias. */
export function findStorageKind(name: string): StorageKind | undefined {
  return storageRegistry.find((kind) => kind.type === name || kind.aliases.includes(name));
}
