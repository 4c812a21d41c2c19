// Storage in an LMDB environment on the local disk: durable by group commit, read by memory map, shared by all
// processes of the machine. Bytes and versions are described in format.ts; opening and its errors are in open.ts.
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { assertKey, assertKeyText, assertPrefix, assertWrites, skipScan } from "../key.ts";
import type { CommitBatch, Entry, Page, Range, Storage, StoredEntry } from "../storage.ts";
import { DiskRoom, FULL_MESSAGE } from "./disk-room.ts";
import { guardExit } from "./exit-guard.ts";
import { encodeEntry, encodeVersion, VERSION_BYTES, VERSION_KEY } from "./format.ts";
import { type Environment, type LmdbOptions, openEnvironment, reopenEnvironment } from "./open.ts";
import { LmdbSnapshot } from "./snapshot.ts";
import { takeStrayRejections } from "./stray-rejections.ts";
import { type LmdbUsage, usageOf } from "./usage.ts";

/** How soon a change by another process is told: one look of 5 µs at the version record each time. */
const WATCH_INTERVAL_MILLIS = 100;
/** The smallest key there is, where a scan of everything begins. */
const FIRST_KEY = "\0";
/** Between tries to open an environment again. */
const REOPEN_MILLIS = 1_000;
/** How old the sizes may be that are told when this process has written nothing since. */
const USAGE_MILLIS: Millis = 1_000;

/** Opens or makes the store in a directory. Errors as openEnvironment. */
export async function openLmdbStorage(options: LmdbOptions & { readonly clock: Clock }): Promise<Storage> {
  return new LmdbStorage(await openEnvironment(options), options);
}

/** A commit on its way. */
interface Attempt {
  /** It has taken a version, which counts if it succeeds. */
  hasWritten: boolean;
}

class LmdbStorage implements Storage {
  readonly #options: LmdbOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #disk: DiskRoom;
  #environment: Environment;
  /** While the environment is opened again after a failure. */
  #reopening: Promise<void> | undefined;
  #isOpen = true;
  readonly #underWay = new Set<Attempt>();
  #whenIdle: () => void = () => {};
  readonly #exitGuard = guardExit(() => this.#underWay.size > 0);
  readonly #strayRejections = takeStrayRejections();
  readonly #closing = new AbortController();
  readonly #snapshots = new Set<LmdbSnapshot>();
  #measured: { readonly usage: LmdbUsage; readonly atMillis: Millis; readonly commits: bigint } | undefined;
  /** Commits of this process that have written, to tell them from those of others. */
  #ownCommits = 0n;

  constructor(environment: Environment, options: LmdbOptions & { readonly clock: Clock }) {
    this.#environment = environment;
    this.#options = options;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#disk = new DiskRoom(options.path, options.clock, options.log);
  }

  async get(keys: readonly string[]): Promise<readonly (Entry | undefined)[]> {
    this.#begin();
    const found: (Entry | undefined)[] = [];
    for (const key of keys) {
      assertKey(key);
      found.push(this.#read(key));
    }
    return found;
  }

  async list(prefix: string, page: Page): Promise<readonly string[]> {
    assertPrefix(prefix);
    this.#begin();
    using cursor = new Cursor(this.#environment);
    return skipScan(prefix, page, (from, inclusive) => cursor.seek(from, inclusive));
  }

  async scan({ from, to, limit }: Range): Promise<readonly string[]> {
    assertKeyText(from);
    assertKeyText(to);
    this.#begin();
    if (to === "" || limit <= 0) return [];
    const start = from === "" ? FIRST_KEY : from;
    return [...this.#environment.entries.getKeys({ start, end: to, ...(Number.isFinite(limit) && { limit }) })];
  }

  async commit(batch: CommitBatch): Promise<"committed" | "conflict"> {
    assertWrites(batch.writes);
    if (this.#reopening !== undefined) await this.#reopening;
    this.#assertOpen();
    this.#disk.assertRoom(() => this.#measure());
    const environment = this.#environment;
    const attempt: Attempt = { hasWritten: false };
    this.#underWay.add(attempt);
    try {
      return await environment.root.transaction(() => this.#apply(batch, attempt));
    } catch (error) {
      if (attempt.hasWritten) this.#ownCommits--;
      const failure = await this.#disk.failure(error);
      this.#renew(environment);
      throw failure;
    } finally {
      this.#underWay.delete(attempt);
      if (this.#underWay.size === 0) this.#whenIdle();
    }
  }

  usage(): LmdbUsage {
    this.#assertOpen();
    const now = this.#clock.now();
    const commits = this.#ownCommits;
    const known = this.#measured;
    const isFresh = known?.commits === commits && now - known.atMillis < USAGE_MILLIS;
    // Three system calls: a quarter of what a probe of the server's state costs (measured), and those come at any rate.
    const measured = isFresh ? known : { usage: this.#measure(), atMillis: now, commits };
    this.#measured = measured;
    return { ...measured.usage, trouble: this.#disk.isFull ? FULL_MESSAGE : undefined };
  }

  #measure(): LmdbUsage {
    this.#begin();
    return usageOf(this.#environment, this.#options.path, this.#disk.freeBytes());
  }

  watch(onChange: (keys: readonly string[] | "all") => void): Disposable {
    const stop = new AbortController();
    void this.#poll(onChange, AbortSignal.any([stop.signal, this.#closing.signal]));
    return { [Symbol.dispose]: () => stop.abort() };
  }

  async *snapshot(): AsyncGenerator<readonly StoredEntry[]> {
    this.#begin();
    using snapshot = new LmdbSnapshot(this.#environment.entries);
    this.#snapshots.add(snapshot);
    try {
      for (let batch = snapshot.next(); batch.length > 0; batch = snapshot.next()) {
        yield batch;
        this.#assertOpen();
      }
    } finally {
      this.#snapshots.delete(snapshot);
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await this.#reopening;
    // LMDB must not be closed under an open cursor.
    for (const snapshot of this.#snapshots) snapshot[Symbol.dispose]();
    try {
      if (!this.#isOpen) return;
      await this.#environment.root.committed;
      await this.#environment.root.close();
    } finally {
      this.#exitGuard[Symbol.dispose]();
      this.#strayRejections[Symbol.dispose]();
    }
  }

  /** Runs inside the write transaction, so nothing changes between the checks and the writes. */
  #apply({ expected, writes }: CommitBatch, attempt: Attempt): "committed" | "conflict" {
    const { root, entries } = this.#environment;
    for (const [key, version] of expected) {
      if (this.#versionOf(key) !== version) return "conflict";
    }
    if (writes.size === 0) return "committed";
    const version = this.#lastVersion() + 1n;
    this.#ownCommits++;
    attempt.hasWritten = true;
    root.put(VERSION_KEY, encodeVersion(version));
    for (const [key, value] of writes) {
      if (value === null) entries.remove(key);
      else entries.put(key, encodeEntry(version, value));
    }
    return "committed";
  }

  #read(key: string): Entry | undefined {
    // The fast read lends its buffer until the next one, so the value is copied out: into Node's pool, where a small one
    // costs a seventh of a buffer of its own (0.07 against 0.5 µs), and it is ciphertext.
    const stored = this.#environment.entries.getBinaryFast(key);
    if (stored === undefined) return undefined;
    const value = Buffer.allocUnsafe(stored.length - VERSION_BYTES);
    stored.copy(value, 0, VERSION_BYTES, stored.length);
    return { value, version: stored.readBigUInt64BE(0) };
  }

  #versionOf(key: string): bigint | undefined {
    return this.#environment.entries.getBinaryFast(key)?.readBigUInt64BE(0);
  }

  #lastVersion(): bigint {
    return this.#environment.root.getBinaryFast(VERSION_KEY)?.readBigUInt64BE(0) ?? 0n;
  }

  async #poll(onChange: (keys: "all") => void, signal: AbortSignal): Promise<void> {
    const byOthers = () => {
      this.#begin();
      return this.#lastVersion() - this.#ownCommits;
    };
    let seen = byOthers();
    while (!signal.aborted) {
      await this.#clock.sleep(WATCH_INTERVAL_MILLIS, signal);
      if (signal.aborted) return;
      if (!this.#isOpen) continue;
      // An own commit counts a moment before it is visible, so the difference may dip; it never misses one for good.
      const now = byOthers();
      if (now > seen) onChange("all");
      if (now > seen) seen = now;
    }
  }

  /** Leaves the snapshot of earlier reads, so that what another process has committed is seen at once. */
  #begin(): void {
    this.#assertOpen();
    this.#environment.root.resetReadTxn();
  }

  #assertOpen(): void {
    if (this.#closing.signal.aborted) throw new CofferError("unavailable", "the storage is closed");
    if (!this.#isOpen) throw new CofferError("unavailable", "the storage is being opened again; try again");
  }

  /** LMDB takes no more writes after some failures (MDB_FATAL_ERROR, when its meta page could not be written). */
  #renew(environment: Environment): void {
    if (this.#environment !== environment || this.#reopening !== undefined) return;
    this.#reopening = this.#reopen().finally(() => (this.#reopening = undefined));
  }

  async #reopen(): Promise<void> {
    if (this.#underWay.size > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve));
    this.#whenIdle = () => {};
    for (const snapshot of this.#snapshots) snapshot[Symbol.dispose]();
    // With nothing on its way this ends before it returns, so no read comes between.
    void this.#environment.root.close();
    this.#isOpen = false;
    while (!this.#isOpen && !this.#closing.signal.aborted) {
      try {
        this.#environment = reopenEnvironment(this.#options);
        this.#isOpen = true;
      } catch (error) {
        this.#log.error("cannot open the storage again", { error: messageOf(error) });
        await this.#clock.sleep(REOPEN_MILLIS, this.#closing.signal);
      }
    }
  }
}

/** Walks keys in order: a step to the neighbour is one move of LMDB's cursor, a jump is a new search. */
class Cursor implements Disposable {
  readonly #environment: Environment;
  #keys: Iterator<string> | undefined;
  #at: string | undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  seek(from: string, inclusive: boolean): string | undefined {
    if (inclusive || this.#keys === undefined || this.#at !== from) this.#jump(from, inclusive);
    const next = this.#keys?.next();
    this.#at = next?.done === true ? undefined : next?.value;
    return this.#at;
  }

  [Symbol.dispose](): void {
    this.#keys?.return?.();
    this.#keys = undefined;
  }

  #jump(from: string, inclusive: boolean): void {
    this.#keys?.return?.();
    // The next key after k in the order of bytes is k with a zero byte behind it.
    const start = inclusive && from !== "" ? from : `${from}${FIRST_KEY}`;
    this.#keys = this.#environment.entries.getKeys({ start })[Symbol.iterator]();
  }
}
