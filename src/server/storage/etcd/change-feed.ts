// Tells of changes by other servers, from etcd's watch on all of the store. After a break it goes on where it was; when
// that has been compacted, or the cluster was restored from a backup, it says "all". Own commits are known by their
// revision and not told.
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { type EtcdCluster, METHOD } from "./cluster.ts";
import { parseWatch, type WatchResult, watchRequest } from "./messages.ts";

export type ChangeListener = (keys: readonly string[] | "all") => void;

/** After a break, for a member that comes back. */
const RETRY_MILLIS: Millis = 250;
/** Own revisions whose events have not come, at most: beyond it some are told as if they were another's. */
const OWN_MAX = 10_000;

export interface FeedContext {
  readonly cluster: EtcdCluster;
  /** Of all keys of the store, in bytes. */
  readonly first: Buffer;
  readonly end: Buffer;
  readonly clock: Clock;
  readonly log: Log;
}

export class ChangeFeed {
  readonly #context: FeedContext;
  readonly #listeners = new Set<ChangeListener>();
  readonly #own = new Set<number>();
  /** Key -> the commits of this server that are writing it. */
  readonly #writing = new Map<string, Promise<unknown>>();
  #running: Promise<void> | undefined;
  /** The first revision that was not seen; 0 before anything was. */
  #next = 0;

  constructor(context: FeedContext) {
    this.#context = context;
  }

  add(onChange: ChangeListener): Disposable {
    // A wrapper, so that the same function given twice is two watches.
    const listener: ChangeListener = (keys) => onChange(keys);
    this.#listeners.add(listener);
    this.#running ??= this.#run();
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** Wraps a commit; it gives the revision that the commit has made, or undefined. */
  async committing(keys: readonly string[], commit: () => Promise<number | undefined>): Promise<number | undefined> {
    if (this.#running === undefined) return commit();
    const work = commit().then((revision) => {
      if (revision !== undefined) this.#remember(revision);
      return revision;
    });
    for (const key of keys) this.#writing.set(key, work);
    try {
      return await work;
    } finally {
      for (const key of keys) if (this.#writing.get(key) === work) this.#writing.delete(key);
    }
  }

  /** Resolves when nothing runs any more; the cluster must have been told to close. */
  async stopped(): Promise<void> {
    await this.#running;
  }

  #remember(revision: number): void {
    if (this.#own.size >= OWN_MAX) this.#own.clear();
    this.#own.add(revision);
  }

  async #run(): Promise<void> {
    const { cluster, clock, log } = this.#context;
    while (!cluster.closing.aborted) {
      await this.#follow().catch((error: unknown) => {
        if (!cluster.closing.aborted)
          log.debug("cannot follow the changes of other servers", { error: messageOf(error) });
      });
      if (!cluster.closing.aborted) await clock.sleep(RETRY_MILLIS, cluster.closing);
    }
  }

  /** One watch, until it ends; rejects with the reason. */
  async #follow(): Promise<void> {
    const { cluster, first, end } = this.#context;
    const { promise, reject } = Promise.withResolvers<void>();
    using _stream = await cluster.stream(METHOD.watch, watchRequest(first, end, this.#next), {
      onMessage: (bytes) => {
        try {
          if (!this.#receive(parseWatch(bytes))) reject(new Error("the watch was canceled"));
        } catch (error) {
          reject(error);
        }
      },
      onEnd: reject,
    });
    await promise;
  }

  /** False when the watch is over. */
  #receive(result: WatchResult): boolean {
    if (result.canceled) {
      if (result.compactRevision > 0) this.#restart(result.compactRevision + 1);
      return false;
    }
    if (result.created) return this.#begin(result.revision);
    const changed = new Map<number, string[]>();
    for (const { key, modRevision } of result.events) {
      const keys = changed.get(modRevision) ?? [];
      keys.push(key.subarray(this.#context.first.length).toString("utf8"));
      changed.set(modRevision, keys);
    }
    for (const [revision, keys] of changed) this.#tellUnlessOwn(revision, keys);
    // Beside events the header has the store's revision, which may be ahead of them; alone it tells how far the watch is.
    const seen = result.events.length === 0 ? [result.revision] : [...changed.keys()];
    this.#next = Math.max(this.#next, ...seen.map((revision) => revision + 1));
    return true;
  }

  /** What changed before the first watch began is not known. */
  #begin(revision: number): boolean {
    if (this.#next === 0) this.#restart(revision + 1);
    // A cluster whose revisions went back has been restored from a backup, or the member is far behind.
    const isBehind = revision + 1 < this.#next;
    if (isBehind) this.#restart(revision + 1);
    return !isBehind;
  }

  #restart(next: number): void {
    this.#next = next;
    this.#own.clear();
    this.#announce("all");
  }

  /** An own commit's event may come before its answer: then that is waited for, to know whose it is. */
  #tellUnlessOwn(revision: number, keys: readonly string[]): void {
    if (this.#own.delete(revision)) return;
    const writing = new Set(keys.flatMap((key) => this.#writing.get(key) ?? []));
    const tell = () => {
      if (!this.#own.delete(revision)) this.#announce(keys);
    };
    if (writing.size === 0) tell();
    else void Promise.allSettled(writing).then(tell);
  }

  #announce(keys: readonly string[] | "all"): void {
    for (const listener of this.#listeners) listener(keys);
  }
}
