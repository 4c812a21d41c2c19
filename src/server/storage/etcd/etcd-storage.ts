// Storage in etcd, shared by any number of servers, all of them active: a read is linearizable, a commit is one
// transaction that compares the mod_revision of all that was read. Reads that arrive together travel together. Keys are
// laid out in format.ts; members and retries are in cluster.ts, limits in docs/adr/0017-etcd.md.
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { Batcher } from "../batcher.ts";
import { assertKey, assertKeyText, assertPrefix, assertWrites } from "../key.ts";
import type { CommitBatch, Entry, Page, Range, Storage, StorageUsage, StoredEntry } from "../storage.ts";
import { ChangeFeed } from "./change-feed.ts";
import { EtcdCluster, METHOD } from "./cluster.ts";
import { GROUPED_OPERATIONS_MAX, type QueuedCommit, requestOf, resultsOf, takeGroup } from "./commit-group.ts";
import { isConfigurationFault, isNoSpace, storageError } from "./faults.ts";
import { dataPrefix, pastPrefix, prepareStore } from "./format.ts";
import { Gate } from "./gate.ts";
import { DatabaseState, type House, keepHouse, statusOf } from "./housekeeping.ts";
import {
  commitRequest,
  getRequest,
  groupsFor,
  type KeyValue,
  parseRange,
  parseTxn,
  rangeRequest,
  type TxnResult,
  type Write,
} from "./messages.ts";
import type { EtcdOptions } from "./options.ts";
import { readSnapshot } from "./snapshot.ts";
import { listNames, type ReadKeys, scanKeys } from "./walk.ts";
import type { Message } from "./wire.ts";

interface Lookup {
  readonly keys: readonly string[];
}
type Found = ReadonlyMap<string, Entry>;

/** etcd's default for operations of a transaction (--max-txn-ops). */
const OPERATIONS_MAX = 128;
/** What etcd adds to a request before it measures it: a header, a user's name. */
const REQUEST_OVERHEAD_BYTES = 1_024;
/** Batches of reads, and of commits, on their way at once. */
const LANES = 4;

export interface EtcdContext {
  readonly log: Log;
  readonly clock: Clock;
}

/** Connects, and makes the store when there is none. Throws `invalid_request` or `unavailable`. */
export async function openEtcdStorage(options: EtcdOptions, { clock, log }: EtcdContext): Promise<Storage> {
  const cluster = new EtcdCluster(options, clock, log);
  const state = new DatabaseState(options.quotaBytes);
  try {
    await prepareStore(cluster, options.path);
    const status = await statusOf(cluster);
    state.learn(status);
    log.info("connected to etcd", { path: options.path, ...(status && { version: status.version }) });
    return new EtcdStorage(cluster, options, state, { clock, log });
  } catch (error) {
    cluster.close();
    if (error instanceof CofferError && isConfigurationFault(error.cause))
      throw new CofferError("invalid_request", error.message, { cause: error.cause });
    throw error;
  }
}

class EtcdStorage implements Storage {
  readonly #cluster: EtcdCluster;
  readonly #prefix: string;
  readonly #prefixBytes: number;
  readonly #end: Buffer;
  readonly #requestBytesMax: number;
  readonly #feed: ChangeFeed;
  readonly #lookups: Batcher<Lookup, Found>;
  readonly #commits: Batcher<QueuedCommit, TxnResult | CofferError>;
  readonly #house: House;
  readonly #housekeeping: Promise<void>;
  readonly #readKeys: ReadKeys;
  readonly #gate: Gate;

  constructor(
    cluster: EtcdCluster,
    { path, requestBytesMax, compactionMillis }: EtcdOptions,
    state: DatabaseState,
    { clock, log }: EtcdContext,
  ) {
    this.#cluster = cluster;
    this.#prefix = dataPrefix(path);
    this.#prefixBytes = Buffer.byteLength(this.#prefix);
    this.#end = pastPrefix(this.#prefix);
    this.#requestBytesMax = requestBytesMax - REQUEST_OVERHEAD_BYTES;
    this.#gate = new Gate(cluster, path, clock);
    this.#feed = new ChangeFeed({ cluster, first: Buffer.from(this.#prefix), end: this.#end, clock, log });
    this.#lookups = new Batcher({ lanes: LANES, take: takeLookups, run: (batch) => this.#lookUp(batch) });
    this.#commits = new Batcher({ lanes: LANES, take: takeGroup, run: (group) => this.#commitGroup(group) });
    this.#house = { cluster, state, path, compactionMillis, clock, log };
    this.#housekeeping = keepHouse(this.#house);
    this.#readKeys = (from, to, limit, revision) => this.#readPiece(from, to, limit, revision);
  }

  async get(keys: readonly string[]): Promise<readonly (Entry | undefined)[]> {
    this.#cluster.assertOpen();
    for (const key of keys) assertKey(key);
    if (keys.length === 0) return [];
    const found = await this.#lookups.add({ keys });
    return keys.map((key) => found.get(key));
  }

  async list(prefix: string, page: Page): Promise<readonly string[]> {
    assertPrefix(prefix);
    this.#cluster.assertOpen();
    return listNames(prefix, page, this.#readKeys);
  }

  async scan(range: Range): Promise<readonly string[]> {
    assertKeyText(range.from);
    assertKeyText(range.to);
    this.#cluster.assertOpen();
    return scanKeys(range, this.#readKeys);
  }

  async commit({ expected, writes }: CommitBatch): Promise<"committed" | "conflict"> {
    for (const key of expected.keys()) assertKey(key);
    assertWrites(writes);
    this.#cluster.assertOpen();
    if (writes.size === 0) return this.#check(expected);
    const stored = [...writes].map(([key, value]): Write => [this.#stored(key), value]);
    const revision = await this.#feed.committing([...writes.keys()], () => this.#write({ expected, writes }, stored));
    return revision === undefined ? "conflict" : "committed";
  }

  watch(onChange: (keys: readonly string[] | "all") => void): Disposable {
    return this.#feed.add(onChange);
  }

  async *snapshot(): AsyncGenerator<readonly StoredEntry[]> {
    this.#cluster.assertOpen();
    const { cluster, path, clock, log } = this.#house;
    const pieces = readSnapshot({ cluster, path, clock, log });
    for await (const entries of pieces) {
      yield entries.map((entry) => ({ key: this.#keyOf(entry), value: Buffer.from(entry.value) }));
      this.#cluster.assertOpen();
    }
  }

  usage(): StorageUsage | undefined {
    return this.#house.state.usage();
  }

  async close(): Promise<void> {
    this.#cluster.close();
    await this.#feed.stopped();
    await this.#housekeeping;
  }

  /** The revision, or undefined for a conflict. */
  async #write(batch: CommitBatch, writes: readonly Write[]): Promise<number | undefined> {
    const gate = this.#gate;
    const { expected } = batch;
    const groups = groupsFor(expected.size + 1, writes.length, OPERATIONS_MAX);
    if (groups === undefined) return this.#writeBehindGate(expected, writes);
    const comparisons = [gate.isOpen];
    for (const [key, version] of expected) comparisons.push({ key: this.#stored(key), modRevision: version ?? 0n });
    const request = commitRequest({ comparisons, writes, groups, otherwise: gate.key });
    this.#assertSize(request);
    const fits = Math.max(comparisons.length, writes.length) <= GROUPED_OPERATIONS_MAX;
    const result = await gate.whenOpen(() => (fits ? this.#queue({ batch, request }) : this.#transact(request)));
    return result.succeeded ? result.revision : undefined;
  }

  async #queue(commit: QueuedCommit): Promise<TxnResult> {
    const result = await this.#commits.add(commit);
    if (result instanceof CofferError) throw result;
    return result;
  }

  async #commitGroup(group: readonly QueuedCommit[]): Promise<readonly (TxnResult | CofferError)[]> {
    try {
      return resultsOf(group, await this.#transact(requestOf(group)));
    } catch (error) {
      // etcd has refused the group, so nothing of it is written: whose fault it is shows when each goes alone.
      if (group.length === 1 || !(error instanceof CofferError && error.code === "too_large")) throw error;
    }
    return Promise.all(group.map(({ request }) => this.#transactAlone(request)));
  }

  async #transactAlone(request: Message): Promise<TxnResult | CofferError> {
    try {
      return await this.#transact(request);
    } catch (error) {
      return storageError("write", error);
    }
  }

  async #transact(request: Message): Promise<TxnResult> {
    try {
      const result = parseTxn(await this.#cluster.call(METHOD.txn, request, "write"));
      this.#house.state.noteWritten();
      return result;
    } catch (error) {
      if (error instanceof Error && isNoSpace(error.cause)) this.#house.state.noteFull();
      throw error;
    }
  }

  async #writeBehindGate(expected: CommitBatch["expected"], writes: readonly Write[]): Promise<number | undefined> {
    const groups = groupsFor(1, writes.length + 1, OPERATIONS_MAX);
    if (groups === undefined)
      throw new CofferError("too_large", `the request writes ${writes.length} records at once; do it in smaller parts`);
    this.#assertSize(commitRequest({ comparisons: [this.#gate.isOpen], writes, groups }));
    const check = async () => (await this.#check(expected)) === "committed";
    return this.#gate.closed(check, writes, groups);
  }

  /** A read set without writes is read again, all of it of one moment. */
  async #check(expected: CommitBatch["expected"]): Promise<"committed" | "conflict"> {
    const found = await this.#readAll([...expected.keys()], true);
    for (const [key, version] of expected) if (found.get(key)?.version !== version) return "conflict";
    return "committed";
  }

  async #lookUp(batch: readonly Lookup[]): Promise<readonly Found[]> {
    const found = await this.#readAll([...new Set(batch.flatMap(({ keys }) => keys))], false);
    return batch.map(() => found);
  }

  /** All of one moment: what does not fit in one transaction is read at the revision of the first one. */
  async #readAll(keys: readonly string[], keysOnly: boolean): Promise<Found> {
    const found = new Map<string, Entry>();
    let revision = 0;
    for (let i = 0; i < keys.length; i += OPERATIONS_MAX) {
      const stored = keys.slice(i, i + OPERATIONS_MAX).map((key) => this.#stored(key));
      const result = parseTxn(await this.#cluster.call(METHOD.txn, getRequest(stored, { revision, keysOnly }), "read"));
      revision = result.revision;
      for (const { entries } of result.ranges)
        for (const entry of entries)
          found.set(this.#keyOf(entry), { value: Buffer.from(entry.value), version: BigInt(entry.modRevision) });
    }
    return found;
  }

  async #readPiece(from: string, to: string | undefined, limit: number, revision: number) {
    const end = to === undefined ? this.#end : this.#stored(to);
    const request = rangeRequest(this.#stored(from), { end, limit, revision, keysOnly: true });
    const result = parseRange(await this.#cluster.call(METHOD.range, request, "read"));
    const keys = result.entries.map((entry) => this.#keyOf(entry));
    return { keys, more: result.more, revision: revision || result.revision };
  }

  #assertSize(message: Message): void {
    if (message.length <= this.#requestBytesMax) return;
    const size = `the request is ${message.length} bytes, and etcd takes ${this.#requestBytesMax}`;
    const advice = "send less at once, or raise --max-request-bytes of etcd's members and storage.max_request_bytes";
    throw new CofferError("too_large", `${size}; ${advice}`);
  }

  #stored(key: string): Buffer {
    return Buffer.from(this.#prefix + key);
  }

  #keyOf({ key }: KeyValue): string {
    return key.toString("utf8", this.#prefixBytes);
  }
}

function takeLookups(waiting: readonly Lookup[]): Lookup[] {
  const taken: Lookup[] = [];
  let keys = 0;
  for (const lookup of waiting) {
    if (taken.length > 0 && keys + lookup.keys.length > OPERATIONS_MAX) break;
    taken.push(lookup);
    keys += lookup.keys.length;
  }
  return taken;
}
