// Events about objects, for `kubectl describe`. Repetitions become one event with a count, a chatty object is held to a
// budget, and a failure to record is logged and forgotten: nothing depends on an event. No secret goes into a note.
// Format: events.k8s.io/v1 Event.
import { type Clock, type Millis, systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import type { KubeClient } from "./kube-client.ts";
import { isKubeError } from "./kube-error.ts";
import type { KubeObject, ObjectRef } from "./kube-object.ts";
import { microTime } from "./micro-time.ts";
import { EVENT } from "./resource-kinds.ts";

export interface KubeEvent {
  /** What it is about. */
  readonly regarding: KubeObject;
  readonly type: "Normal" | "Warning";
  /** CamelCase, from a closed list: why. */
  readonly reason: string;
  /** CamelCase: what was being done. */
  readonly action: string;
  readonly note: string;
}

export interface EventRecorder {
  /** Records in the background; never throws. */
  record(event: KubeEvent): void;
  /** Resolves when everything recorded so far has been sent or given up. */
  flush(): Promise<void>;
}

/** The API server refuses longer ones. */
export const NOTE_CHARACTERS_MAX = 1024;
export const REASON_CHARACTERS_MAX = 128;
/** The same event within this time of its last is a repetition, as client-go counts. */
export const SERIES_MILLIS: Millis = 360_000;
/** After the first repetition the count is written at most this often. */
export const SERIES_WRITE_MILLIS: Millis = 60_000;
/** New events per object: this many at once, then one per refill, as client-go allows. */
export const BURST_EVENTS = 25;
export const REFILL_MILLIS: Millis = 300_000;
/** Remembered events and objects; beyond it the oldest are forgotten. */
const REMEMBERED_MAX = 4096;
/** Waiting to be sent; beyond it events are dropped, for the API server is then away. */
const PENDING_MAX = 200;
/** Objects without a namespace have their events here, as those of nodes are. */
const DEFAULT_NAMESPACE = "default";

interface Series {
  readonly ref: ObjectRef;
  count: number;
  lastAt: Millis;
  writtenAt: Millis;
}

/** Records events as `client.fieldManager`, from `instance` (the pod's name). */
export function createEventRecorder(options: {
  client: KubeClient;
  instance: string;
  clock?: Clock;
  log: Log;
}): EventRecorder {
  return new Recorder(options.client, options.instance, options.clock ?? systemClock, options.log);
}

class Recorder implements EventRecorder {
  readonly #client: KubeClient;
  readonly #instance: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #series = new Map<string, Series>();
  readonly #budgets = new Map<string, { tokens: number; at: Millis }>();
  #sequence = 0;
  #pending = 0;
  #sending: Promise<void> = Promise.resolve();

  constructor(client: KubeClient, instance: string, clock: Clock, log: Log) {
    this.#client = client;
    this.#instance = instance;
    this.#clock = clock;
    this.#log = log;
  }

  record(event: KubeEvent): void {
    const now = this.#clock.now();
    const key = seriesKey(event);
    const series = this.#series.get(key);
    if (series !== undefined && now - series.lastAt < SERIES_MILLIS) this.#repeat(series, now);
    else if (this.#mayRecord(event.regarding, now)) this.#begin(key, event, now);
  }

  async flush(): Promise<void> {
    await this.#sending;
  }

  #repeat(series: Series, now: Millis): void {
    series.count++;
    series.lastAt = now;
    if (series.count > 2 && now - series.writtenAt < SERIES_WRITE_MILLIS) return;
    series.writtenAt = now;
    const patch = { series: { count: series.count, lastObservedTime: microTime(now) } };
    this.#send(() => this.#client.mergePatch(EVENT, series.ref, patch));
  }

  #begin(key: string, event: KubeEvent, now: Millis): void {
    const namespace = event.regarding.metadata.namespace ?? DEFAULT_NAMESPACE;
    const suffix = `${now.toString(16)}${(this.#sequence++).toString(16).padStart(4, "0")}`;
    // A name may have 253 characters; 20 are enough for the suffix and its dot.
    const ref = { namespace, name: `${event.regarding.metadata.name.slice(0, 233)}.${suffix}` };
    remember(this.#series, key, { ref, count: 1, lastAt: now, writtenAt: now });
    const body = this.#body(event, ref, now);
    this.#send(() => this.#client.create(EVENT, body));
  }

  #body(event: KubeEvent, ref: ObjectRef, now: Millis): JsonObject {
    const { apiVersion, kind, metadata } = event.regarding;
    return {
      metadata: { namespace: ref.namespace ?? DEFAULT_NAMESPACE, name: ref.name },
      eventTime: microTime(now),
      type: event.type,
      reason: event.reason.slice(0, REASON_CHARACTERS_MAX),
      action: event.action.slice(0, REASON_CHARACTERS_MAX),
      note: event.note.slice(0, NOTE_CHARACTERS_MAX),
      reportingController: this.#client.fieldManager,
      reportingInstance: this.#instance.slice(0, REASON_CHARACTERS_MAX),
      regarding: {
        apiVersion,
        kind,
        name: metadata.name,
        ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
        ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
        ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
      },
    };
  }

  #mayRecord(regarding: KubeObject, now: Millis): boolean {
    const key = objectKey(regarding);
    const budget = this.#budgets.get(key) ?? { tokens: BURST_EVENTS, at: now };
    const refilled = Math.floor((now - budget.at) / REFILL_MILLIS);
    const tokens = Math.min(budget.tokens + refilled, BURST_EVENTS);
    const at = budget.at + refilled * REFILL_MILLIS;
    remember(this.#budgets, key, { tokens: Math.max(tokens - 1, 0), at });
    return tokens > 0;
  }

  // One after another: a repetition must not overtake its event.
  #send(write: () => Promise<unknown>): void {
    if (this.#pending >= PENDING_MAX) return;
    this.#pending++;
    this.#sending = this.#sending.then(write).then(
      () => {
        this.#pending--;
      },
      (error: unknown) => {
        this.#pending--;
        // In a namespace that is being deleted nothing can be created, and an old event may have expired.
        if (!isKubeError(error, "NotFound", "Forbidden"))
          this.#log.warn("an event was not recorded", { error: messageOf(error) });
      },
    );
  }
}

function objectKey({ kind, metadata }: KubeObject): string {
  return `${kind}/${metadata.namespace ?? ""}/${metadata.name}/${metadata.uid ?? ""}`;
}

function seriesKey(event: KubeEvent): string {
  return JSON.stringify([objectKey(event.regarding), event.type, event.reason, event.action, event.note]);
}

/** Puts an entry last and drops the first ones above the limit. */
function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > REMEMBERED_MAX && oldest !== undefined) map.delete(oldest);
}
