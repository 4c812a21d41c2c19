// All entries of one instant: reads pinned to one revision. A record beside the store names that revision for as long as
// it is read, so that no server of the store compacts it away (housekeeping.ts); it is under a lease, so that a server
// that dies meanwhile holds up nothing for long. What others compact (etcd's own option) cannot be held off.
import { randomBytes } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { SNAPSHOT_BATCH_BYTES } from "../storage.ts";
import { type EtcdCluster, METHOD } from "./cluster.ts";
import { isCompacted } from "./faults.ts";
import { dataPrefix, pastPrefix, pinsPrefix } from "./format.ts";
import { commitRequest, type KeyValue, leaseRequest, parseRange, parseTxn, rangeRequest } from "./messages.ts";

export interface SnapshotSource {
  readonly cluster: EtcdCluster;
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** A pin is renewed three times within its lease. */
const LEASE_SECONDS = 60;
const RENEWAL_MILLIS: Millis = 20_000;
const ID_BYTES = 6;
/**
 * Keys are asked for first, many at once: etcd walks its index of the whole rest of the range each time. Their values
 * follow in ranges that end, at most so many keys, because nothing tells their size before.
 */
const KEYS = 2_048;
const VALUES_MIN = 8;
const VALUES_MAX = 128;

/** Entries with their full keys, in order. Throws `unavailable`. */
export async function* readSnapshot(source: SnapshotSource): AsyncGenerator<readonly KeyValue[]> {
  const pin = new Pin(source);
  const stopped = new AbortController();
  const revision = await pin.put();
  const renewal = pin.keep(revision, AbortSignal.any([stopped.signal, source.cluster.closing]));
  try {
    yield* readAt(source, revision);
  } catch (error) {
    if (!(error instanceof Error && isCompacted(error.cause))) throw error;
    const message =
      "etcd's history was compacted under a snapshot; let only this program compact it, or allow it more time";
    throw new CofferError("unavailable", message, { cause: error });
  } finally {
    stopped.abort();
    await renewal;
    await pin.remove();
  }
}

/** The oldest revision that a snapshot needs; Infinity when none does. */
export async function oldestPin({ cluster, path }: Pick<SnapshotSource, "cluster" | "path">): Promise<number> {
  const prefix = pinsPrefix(path);
  const request = rangeRequest(Buffer.from(prefix), { end: pastPrefix(prefix) });
  const { entries } = parseRange(await cluster.call(METHOD.range, request, "read"));
  // An empty value is a pin just made: its own revision is what it pins.
  return Math.min(Infinity, ...entries.map(({ value, modRevision }) => Number(value.toString()) || modRevision));
}

async function* readAt({ cluster, path }: SnapshotSource, revision: number): AsyncGenerator<readonly KeyValue[]> {
  const prefix = dataPrefix(path);
  const read = async (from: Buffer, end: Buffer, limit: number, keysOnly: boolean) => {
    const request = rangeRequest(from, { end, limit, revision, keysOnly });
    return parseRange(await cluster.call(METHOD.range, request, "read"));
  };
  const end = pastPrefix(prefix);
  let size = VALUES_MIN;
  for (let from: Buffer | undefined = Buffer.from(prefix); from !== undefined; ) {
    const { entries: keys, more }: ReturnType<typeof parseRange> = await read(from, end, KEYS, true);
    for (let at = 0; at < keys.length; ) {
      const [first, last] = [keys[at], keys[Math.min(at + size, keys.length) - 1]];
      if (first === undefined || last === undefined) break;
      const { entries } = await read(first.key, past(last.key), 0, false);
      yield entries;
      at += size;
      size = nextSize(entries);
    }
    const last = keys.at(-1);
    from = more && last !== undefined ? past(last.key) : undefined;
  }
}

/** So many as fill a batch if they are as large as the last ones, growing by steps. */
function nextSize(entries: readonly KeyValue[]): number {
  const bytes = entries.reduce((sum, { key, value }) => sum + key.length + value.length, 1);
  const fitting = Math.floor((entries.length * SNAPSHOT_BATCH_BYTES) / bytes);
  return Math.max(1, Math.min(fitting, entries.length * 4, VALUES_MAX));
}

/** The first key after this one. */
const past = (key: Buffer) => Buffer.concat([key, Buffer.alloc(1)]);

class Pin {
  readonly #source: SnapshotSource;
  readonly #key: Buffer;

  constructor(source: SnapshotSource) {
    this.#source = source;
    this.#key = Buffer.from(pinsPrefix(source.path) + randomBytes(ID_BYTES).toString("hex"));
  }

  /** Writes the pin; gives the revision, which is the write's own when none is named. */
  async put(revision?: number): Promise<number> {
    const { cluster } = this.#source;
    const lease = randomBytes(ID_BYTES).readUIntBE(0, ID_BYTES) || 1;
    await cluster.call(METHOD.lease, leaseRequest(lease, LEASE_SECONDS), "write");
    return this.#write(Buffer.from(revision === undefined ? "" : String(revision)), lease);
  }

  /** A failed renewal is not yet the end: the lease outlives two of them. */
  async keep(revision: number, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#source;
    while (!signal.aborted) {
      await clock.sleep(RENEWAL_MILLIS, signal);
      if (signal.aborted) return;
      try {
        await this.put(revision);
      } catch (error) {
        log.warn("the revision of a snapshot could not be held once more", { error: messageOf(error) });
      }
    }
  }

  /** What is not removed ends with its lease. */
  async remove(): Promise<void> {
    try {
      await this.#write(null);
    } catch (error) {
      this.#source.log.debug("the pin of a snapshot stays until its lease ends", { error: messageOf(error) });
    }
  }

  async #write(value: Buffer | null, lease = 0): Promise<number> {
    const request = commitRequest({ comparisons: [], writes: [[this.#key, value, lease]] });
    return parseTxn(await this.#source.cluster.call(METHOD.txn, request, "write")).revision;
  }
}
