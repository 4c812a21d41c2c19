// Restores a snapshot into the store of a running server: takes it in, finds out whose it is, and replaces what the store
// holds while every process of the store stands still (restore-watch.ts). Two kinds:
//
//   own      made under this store's keyring, as its seal proves. The keyring, the root key and the seals' copies of it
//            stay as they are now: the newer keyring opens all that an older one wrote, once it has those terms back
//            that were retired since.
//   foreign  of another cluster, only when that is asked for. Everything comes from the snapshot, the keys as well; what
//            opens the store from then on are the snapshot's seals.
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Barrier } from "../barrier/barrier.ts";
import { isBarrierKey } from "../barrier/barrier-transaction.ts";
import { deriveKey } from "../barrier/derived-key.ts";
import { Keyring } from "../barrier/keyring.ts";
import type { SealSet } from "../core/seal-set.ts";
import { parseSealKeys, ROOT_PURPOSE } from "../core/seal-store.ts";
import type { Seal } from "../seal/seal.ts";
import { findStorageKind } from "../storage/registry.ts";
import { type Storage, VALUE_BYTES_MAX } from "../storage/storage.ts";
import { damaged, MAC_PURPOSE } from "./format.ts";
import { hasAll, ownKeys } from "./own-keys.ts";
import { isAuthentic } from "./read-snapshot.ts";
import { replaceEntries } from "./replace-entries.ts";
import type { RestoreWatch } from "./restore-watch.ts";
import { SNAPSHOT_BYTES_MAX, Spool } from "./spool.ts";

export interface RestorerParts {
  readonly storage: Storage;
  readonly storageType: string;
  readonly barrier: Barrier;
  /** All seals, those included that only open what they wrapped. */
  readonly seals: Pick<SealSet, "all">;
  readonly watch: RestoreWatch;
  readonly clock: Clock;
  readonly log: Log;
}

/** "unchecked": no seal that opens by itself knows the snapshot's key, so nothing tells who made it. */
export type Origin = "own" | "foreign" | "unchecked";

export interface PreparedRestore {
  readonly spool: Spool;
  readonly origin: Origin;
  /** Keeps it from being thrown away. */
  take(): void;
}

/** Longer than any backend's news take; what a process reads meanwhile is still all of the old store. */
const GRACE_MILLIS: Millis = 3_000;
/** Other processes look for the end at least this often, so that whoever is answered is served by all of them. */
const SETTLE_MILLIS: Millis = 1_000;
/** What was taken in and is not put in place within this time is thrown away. */
const KEPT_MILLIS: Millis = 10 * 60_000;

export class Restorer implements Disposable {
  readonly #stop = new AbortController();
  readonly #parts: RestorerParts;
  /** By the body that it came in, for a request that runs again. */
  readonly #received = new WeakMap<object, Promise<PreparedRestore>>();

  constructor(parts: RestorerParts) {
    this.#parts = parts;
  }

  /** Takes in and checks. Once for each body. Throws `invalid_request` for what is not whole or not ours. */
  receive(body: { readonly bytes: AsyncIterable<Uint8Array> }, isForced: boolean): Promise<PreparedRestore> {
    const known = this.#received.get(body);
    if (known) return known;
    const received = this.#receive(body.bytes, isForced);
    this.#received.set(body, received);
    return received;
  }

  /** Replaces the store's content; this process and all others stand still meanwhile. */
  async apply({ spool, origin, take }: PreparedRestore): Promise<void> {
    take();
    const { storage, clock, log, watch, barrier } = this.#parts;
    const { id, created } = spool.checked.meta;
    await using _spool = spool;
    // Before this process stands still, which seals it. The mark is made only while the keyring is still so.
    const keys = origin === "own" ? await barrier.keepTerms(spool.terms, spool.keyring) : undefined;
    log.warn("a snapshot is being restored; requests are refused until it is done", { snapshot: id, created, origin });
    watch.pause();
    try {
      await replaceEntries({
        ...{ storage, clock, snapshot: id, chunks: spool.chunks(), graceMillis: GRACE_MILLIS, mayTakeOver: false },
        isKept: origin === "own" ? isOfKeys : () => false,
        ...(keys && { keys }),
      });
      await watch.look();
      await clock.sleep(SETTLE_MILLIS);
      log.warn("the snapshot is restored", { snapshot: id, created, entries: spool.checked.trailer.entries });
    } finally {
      await watch.look();
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  async #receive(bytes: AsyncIterable<Uint8Array>, isForced: boolean): Promise<PreparedRestore> {
    const { storageType, clock } = this.#parts;
    const spool = await Spool.receive(bytes, limitsOf(storageType));
    try {
      const origin = await this.#originOf(spool, isForced);
      const applied = new AbortController();
      const over = AbortSignal.any([applied.signal, this.#stop.signal]);
      void clock
        .sleep(KEPT_MILLIS, over)
        .then(() => (applied.signal.aborted ? undefined : spool[Symbol.asyncDispose]()));
      return { spool, origin, take: () => applied.abort() };
    } catch (error) {
      await spool[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #originOf(spool: Spool, isForced: boolean): Promise<Origin> {
    const { barrier, seals } = this.#parts;
    using keys = ownKeys(spool, barrier);
    if (keys) return "own";
    const { cluster_name: name, cluster_id: id } = spool.checked.meta;
    if (!isForced) {
      const isRetired = !hasAll(barrier, spool.terms) ? ", its keys were retired and its root key replaced" : "";
      const message = `the snapshot is not of this store's keys: it says it is of cluster ${name} (${id})${isRetired}, or it was changed`;
      throw new CofferError("invalid_request", `${message}; to replace this cluster by it use snapshot-force`);
    }
    return foreignOrigin(spool, seals.all);
  }
}

export function limitsOf(storageType: string) {
  const valueBytesMax = findStorageKind(storageType)?.valueBytesMax ?? VALUE_BYTES_MAX;
  return { bytesMax: SNAPSHOT_BYTES_MAX, valueBytesMax };
}

/** What belongs to the keys themselves: the keyring with its fence, the root key for other processes, the seals' blobs. */
export const isOfKeys = isBarrierKey;

/** Looks at the seal of a snapshot with its own keys, where one of our seals opens them. Throws `invalid_request`. */
export async function foreignOrigin(spool: Spool, seals: readonly Seal[]): Promise<Origin> {
  if (spool.keyring === undefined || spool.sealKeys === undefined) throw damaged("it has no keyring");
  for (const wrapped of parseSealKeys(spool.sealKeys).root) {
    const seal = seals.find(({ name }) => name === wrapped.seal);
    if (seal?.kind !== "auto") continue;
    using rootKey = await seal.unwrap(wrapped, ROOT_PURPOSE).catch(() => undefined);
    const keyring = rootKey && Keyring.open(spool.keyring, rootKey.toKeyObject());
    if (keyring === undefined) continue;
    const derived = deriveKey(keyring, MAC_PURPOSE, spool.checked.sealed.term);
    keyring.dispose();
    if (derived && isAuthentic(spool.checked, derived.key)) return "foreign";
    throw new CofferError("invalid_request", "the snapshot was changed after it was made: its seal does not fit");
  }
  return "unchecked";
}
