// The loop of a controller: changes of objects become keys in a queue, workers bring one key after another in line.
// A reconcile that throws comes back with a growing wait; "not ready yet" is no error but a result with a time.
import { type Clock, type Millis, systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Counter, Histogram, Metrics } from "#common/metrics.ts";
import type { Backoff } from "./backoff.ts";
import { withDeadline } from "./deadline.ts";
import { keyOf } from "./kube-object.ts";
import type { Change, Reflector } from "./reflector.ts";
import { createWorkQueue, type Priority } from "./work-queue.ts";

export interface ReconcileResult {
  /** Looks at the key again after this long, changed or not. */
  readonly requeueAfterMillis?: Millis | undefined;
}
export type Reconcile = (key: string, signal: AbortSignal) => Promise<ReconcileResult | undefined>;

/** Where keys come from. */
export interface ControllerSource {
  readonly reflector: Reflector;
  /** The keys that a change concerns; the changed object's own when absent. */
  readonly keysOf?: ((change: Change) => readonly string[]) | undefined;
  /** "refresh" for keys that a change concerns by the way, so that they do not stand in line before users' edits. */
  readonly priority?: Priority | undefined;
}

export interface ControllerOptions {
  readonly name: string;
  readonly sources: readonly ControllerSource[];
  readonly reconcile: Reconcile;
  /** How many keys are worked on at once; 4 when absent. */
  readonly concurrency?: number | undefined;
  /** A reconcile is aborted after this long; 2 minutes when absent. */
  readonly timeoutMillis?: Millis | undefined;
  readonly backoff?: Backoff | undefined;
  readonly clock?: Clock | undefined;
  readonly log: Log;
  readonly metrics?: ControllerMetrics | undefined;
}

export interface Controller {
  readonly name: string;
  /** Asks for a look at a key, as a changed object would. */
  enqueue(key: string, priority?: Priority): void;
  enqueueAfter(key: string, millis: Millis): void;
  queueSizes(): { readonly ready: number; readonly waiting: number; readonly working: number };
  /** Waits for the sources' first lists, then works until the signal aborts and the last reconcile has ended. */
  run(signal: AbortSignal): Promise<void>;
}

const CONCURRENCY = 4;
/** Longer than any single step should take; what hangs beyond it is tried again rather than held for ever. */
const TIMEOUT_MILLIS: Millis = 120_000;

export interface ControllerMetrics {
  readonly reconciles: Counter<"controller" | "result">;
  readonly durationSeconds: Histogram<"controller">;
}

/** Declares the metrics that all controllers of a process share. */
export function declareControllerMetrics(metrics: Metrics): ControllerMetrics {
  return {
    reconciles: metrics.counter("coffer_controller_reconciles_total", "Reconciles by controller and result.", [
      "controller",
      "result",
    ]),
    durationSeconds: metrics.histogram(
      "coffer_controller_reconcile_duration_seconds",
      "How long reconciles took.",
      [0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 120],
      ["controller"],
    ),
  };
}

export function createController(options: ControllerOptions): Controller {
  const clock = options.clock ?? systemClock;
  const queue = createWorkQueue({ clock, ...(options.backoff === undefined ? {} : { backoff: options.backoff }) });
  const log = options.log.with({ controller: options.name });

  const work = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      const key = await queue.next(signal);
      if (key === undefined) return;
      const startedAt = clock.now();
      const result = await reconcileOnce(key, signal);
      options.metrics?.reconciles.add({ controller: options.name, result });
      options.metrics?.durationSeconds.observe({ controller: options.name }, (clock.now() - startedAt) / 1000);
      queue.done(key);
    }
  };

  const reconcileOnce = async (key: string, signal: AbortSignal): Promise<"done" | "failed" | "requeued"> => {
    try {
      const timeout = options.timeoutMillis ?? TIMEOUT_MILLIS;
      const result = await withDeadline(clock, timeout, signal, (inner) => options.reconcile(key, inner));
      queue.forget(key);
      if (result?.requeueAfterMillis === undefined) return "done";
      queue.addAfter(key, result.requeueAfterMillis);
      return "requeued";
    } catch (error) {
      if (signal.aborted) return "failed";
      const waitMillis = Math.round(queue.addFailed(key));
      log.warn("reconcile failed, trying again", { key, error: messageOf(error), waitMillis });
      return "failed";
    }
  };

  return {
    name: options.name,
    enqueue: (key, priority) => queue.add(key, priority),
    enqueueAfter: (key, millis) => queue.addAfter(key, millis),
    queueSizes: () => queue.sizes(),
    async run(signal) {
      // Half-filled caches make wrong decisions: an owner that is not listed yet looks deleted.
      await Promise.all(options.sources.map(({ reflector }) => reflector.whenSynced(signal)));
      using subscriptions = new DisposableStack();
      for (const source of options.sources)
        subscriptions.use(source.reflector.onChange((change) => enqueueChange(queue, source, change)));
      const workers = Array.from({ length: options.concurrency ?? CONCURRENCY }, () => work(signal));
      await Promise.all([queue.run(signal), ...workers]);
    },
  };
}

function enqueueChange(
  queue: { add(key: string, priority: Priority): void },
  source: ControllerSource,
  change: Change,
) {
  const keys = source.keysOf?.(change) ?? [keyOf(change.object.metadata)];
  const isRefresh = change.initial || change.type === "resync";
  const priority = isRefresh ? "refresh" : (source.priority ?? "user");
  for (const key of keys) queue.add(key, priority);
}
