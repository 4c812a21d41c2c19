// A local copy of the objects of one kind, kept current by list and watch, and the events of its changes.
//
//   list ──► watch ──end──► watch from the last resource version ──► …
//     ▲        │ error: back off, watch again; after several, list
//     └─ 410 ──┘ (history gone: list after a random wait, so that many clients do not list at one instant)
//
// Watches that die silently are what client libraries stumble over. Here every watch asks the server to end it soon
// (timeoutSeconds) and has a deadline of its own just after: a connection on which nothing arrives, not even that end,
// is dropped and resumed. Bookmarks keep the resource version fresh where nothing changes.
// Format: Kubernetes API concepts, "Efficient detection of changes".
import { type Clock, type Millis, systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { backoffMillis, jitterMillis } from "./backoff.ts";
import { withDeadline } from "./deadline.ts";
import type { KubeClient, WatchEvent } from "./kube-client.ts";
import { isExpired } from "./kube-error.ts";
import { type KubeObject, keyOf, type ResourceKind } from "./kube-object.ts";

export interface Change {
  /** "resync" repeats an unchanged object, so that what was missed or undone elsewhere is looked at again. */
  readonly type: "added" | "modified" | "deleted" | "resync";
  readonly object: KubeObject;
  /** What the cache held before; for "modified" and "deleted". */
  readonly previous?: KubeObject | undefined;
  /** True for what the first list found. */
  readonly initial: boolean;
}

export interface Reflector {
  readonly kind: ResourceKind;
  /** By "namespace/name", or "name" for cluster-wide kinds. */
  get(key: string): KubeObject | undefined;
  list(namespace?: string): readonly KubeObject[];
  /** True once the first list is in the cache. */
  isSynced(): boolean;
  /** Resolves with the first list in the cache, or when the signal aborts. */
  whenSynced(signal: AbortSignal): Promise<void>;
  /** How long ago the API server was last heard of, in milliseconds; undefined before the first answer. */
  silentMillis(): Millis | undefined;
  /** Calls the handler with every change, and with what is in the cache already. */
  onChange(handler: (change: Change) => void): Disposable;
  /** Lists and watches until the signal aborts. Never throws. */
  run(signal: AbortSignal): Promise<void>;
}

export interface ReflectorOptions {
  readonly client: KubeClient;
  readonly kind: ResourceKind;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Keeps and transfers only metadata, for kinds whose contents are large or secret. */
  readonly metadataOnly?: boolean | undefined;
  /** Every object is reported again this often; never when absent. */
  readonly resyncMillis?: Millis | undefined;
  readonly clock?: Clock | undefined;
  readonly log: Log;
}

/** The server ends a watch after this long plus up to 5 s; its bookmarks come only once a minute, too rare to wait for. */
const WATCH_SECONDS = 45;
const WATCH_SPREAD_SECONDS = 5;
/** After its planned end a watch gets this long: together below the minute in which a dead connection must be noticed. */
export const WATCH_GRACE_MILLIS: Millis = 5000;
/** The longest that a silently dead watch lives. */
export const WATCH_DEADLINE_MILLIS_MAX: Millis = (WATCH_SECONDS + WATCH_SPREAD_SECONDS) * 1000 + WATCH_GRACE_MILLIS;
/** Spread of the lists after history was lost, as it happens to all clients at once. */
export const RELIST_SPREAD_MILLIS: Millis = 5000;
const BACKOFF = { initialMillis: 500, maxMillis: 30_000 };
/** A restored etcd counts versions anew and a watch from the future fails for ever: then only a list helps. */
const FAILURES_BEFORE_LIST = 5;
/** A watch that ends sooner was cut by something in between; going on at once would become a storm. */
const SHORT_WATCH_MILLIS: Millis = 1000;

export function createReflector(options: ReflectorOptions): Reflector {
  return new ListWatch(options);
}

class ListWatch implements Reflector {
  readonly kind: ResourceKind;
  readonly #options: ReflectorOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #cache = new Map<string, KubeObject>();
  /** The same by namespace: with thousands of objects in hundreds of namespaces nobody should look through all. */
  readonly #byNamespace = new Map<string, Map<string, KubeObject>>();
  readonly #handlers = new Set<(change: Change) => void>();
  readonly #synced = Promise.withResolvers<void>();
  #isSynced = false;
  #heardAt: Millis | undefined;
  #failures = 0;
  /** Where the watch goes on; undefined when the next step must be a list. */
  #version: string | undefined;

  constructor(options: ReflectorOptions) {
    this.kind = options.kind;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log.with({ kind: options.kind.kind });
  }

  get(key: string): KubeObject | undefined {
    return this.#cache.get(key);
  }
  list(namespace?: string): readonly KubeObject[] {
    if (namespace === undefined) return [...this.#cache.values()];
    return [...(this.#byNamespace.get(namespace)?.values() ?? [])];
  }
  isSynced(): boolean {
    return this.#isSynced;
  }
  async whenSynced(signal: AbortSignal): Promise<void> {
    if (this.#isSynced || signal.aborted) return;
    const aborted = Promise.withResolvers<void>();
    const wake = () => aborted.resolve();
    signal.addEventListener("abort", wake, { once: true });
    await Promise.race([this.#synced.promise, aborted.promise]);
    signal.removeEventListener("abort", wake);
  }
  silentMillis(): Millis | undefined {
    return this.#heardAt === undefined ? undefined : this.#clock.now() - this.#heardAt;
  }
  onChange(handler: (change: Change) => void): Disposable {
    this.#handlers.add(handler);
    for (const object of this.#cache.values()) this.#call(handler, { type: "added", object, initial: true });
    return { [Symbol.dispose]: () => void this.#handlers.delete(handler) };
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#follow(signal), this.#resync(signal)]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.#version === undefined) await this.#relist(signal);
        else await this.#watch(this.#version, signal);
      } catch (error) {
        if (!signal.aborted) await this.#recover(error, signal);
      }
    }
  }

  async #recover(error: unknown, signal: AbortSignal): Promise<void> {
    if (isExpired(error) && this.#version !== undefined) {
      this.#log.info("the watch's history is gone, listing again");
      this.#version = undefined;
      await this.#clock.sleep(jitterMillis(RELIST_SPREAD_MILLIS), signal);
      return;
    }
    this.#failures++;
    if (this.#failures % FAILURES_BEFORE_LIST === 0) this.#version = undefined;
    const wait = backoffMillis(BACKOFF, this.#failures);
    this.#log.warn("cannot follow the API server, trying again", { error: messageOf(error), waitMillis: wait });
    await this.#clock.sleep(wait, signal);
  }

  async #relist(signal: AbortSignal): Promise<void> {
    const { client, kind } = this.#options;
    const { items, resourceVersion } = await client.list(kind, { ...this.#selection(), signal });
    this.#heard();
    const gone = new Set(this.#cache.keys());
    for (const item of items) {
      gone.delete(keyOf(item.metadata));
      this.#store(item);
    }
    for (const key of gone) this.#remove(key);
    this.#version = resourceVersion;
    this.#isSynced = true;
    this.#synced.resolve();
  }

  async #watch(from: string, signal: AbortSignal): Promise<void> {
    const { client, kind } = this.#options;
    const timeoutSeconds = WATCH_SECONDS + Math.round(jitterMillis(WATCH_SPREAD_SECONDS * 1000) / 1000);
    const startedAt = this.#clock.now();
    await withDeadline(this.#clock, timeoutSeconds * 1000 + WATCH_GRACE_MILLIS, signal, async (inner) => {
      const options = { ...this.#selection(), resourceVersion: from, timeoutSeconds, signal: inner };
      for await (const event of client.watch(kind, options)) this.#take(event);
    });
    this.#heard();
    if (this.#clock.now() - startedAt < SHORT_WATCH_MILLIS)
      await this.#clock.sleep(SHORT_WATCH_MILLIS + jitterMillis(SHORT_WATCH_MILLIS), signal);
  }

  #selection() {
    const { namespace, labelSelector, fieldSelector, metadataOnly } = this.#options;
    return { namespace, labelSelector, fieldSelector, metadataOnly };
  }

  #heard(): void {
    this.#heardAt = this.#clock.now();
    this.#failures = 0;
  }

  #take({ type, object }: WatchEvent): void {
    this.#heard();
    if (type === "DELETED") this.#remove(keyOf(object.metadata), object);
    else if (type !== "BOOKMARK") this.#store(object);
    this.#version = object.metadata.resourceVersion ?? this.#version;
  }

  #store(received: KubeObject): void {
    const object = withoutManagedFields(received);
    const key = keyOf(object.metadata);
    const previous = this.#cache.get(key);
    if (previous !== undefined && previous.metadata.resourceVersion === object.metadata.resourceVersion) return;
    this.#cache.set(key, object);
    this.#index(key, object);
    const initial = !this.#isSynced;
    // Deleted and made anew while nobody watched: whoever keeps state per object has to hear of both.
    if (previous !== undefined && previous.metadata.uid !== object.metadata.uid) {
      this.#emit({ type: "deleted", object: previous, previous, initial });
      this.#emit({ type: "added", object, initial });
    } else if (previous === undefined) this.#emit({ type: "added", object, initial });
    else this.#emit({ type: "modified", object, previous, initial });
  }

  #index(key: string, object: KubeObject): void {
    const { namespace = "" } = object.metadata;
    const within = this.#byNamespace.get(namespace) ?? new Map<string, KubeObject>();
    this.#byNamespace.set(namespace, within.set(key, object));
  }

  #remove(key: string, last?: KubeObject): void {
    const previous = this.#cache.get(key);
    if (previous === undefined) return;
    this.#cache.delete(key);
    const { namespace = "" } = previous.metadata;
    const within = this.#byNamespace.get(namespace);
    within?.delete(key);
    if (within?.size === 0) this.#byNamespace.delete(namespace);
    this.#emit({
      type: "deleted",
      object: last === undefined ? previous : withoutManagedFields(last),
      previous,
      initial: false,
    });
  }

  async #resync(signal: AbortSignal): Promise<void> {
    const { resyncMillis } = this.#options;
    if (resyncMillis === undefined) return;
    while (!signal.aborted) {
      await this.#clock.sleep(resyncMillis, signal);
      if (signal.aborted) return;
      for (const object of this.#cache.values()) this.#emit({ type: "resync", object, initial: false });
    }
  }

  #emit(change: Change): void {
    for (const handler of this.#handlers) this.#call(handler, change);
  }

  #call(handler: (change: Change) => void, change: Change): void {
    try {
      handler(change);
    } catch (error) {
      this.#log.error("a handler of changes failed", { error: messageOf(error) });
    }
  }
}

// Often half of an object, and nobody here reads it.
function withoutManagedFields(object: KubeObject): KubeObject {
  if (!("managedFields" in object.metadata)) return object;
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
