// Follows pods that ask for secrets and have no agent, on one replica at a time: an event on each, a line in the log, a
// gauge, and by choice an eviction. It changes no pod.
import type { Clock, Millis } from "#common/clock.ts";
import type { Log } from "#common/log.ts";
import type { EventRecorder } from "#kube/events.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { type KubeObject, keyOf } from "#kube/kube-object.ts";
import { createReflector } from "#kube/reflector.ts";
import { POD } from "#kube/resource-kinds.ts";
import { INJECT_LABEL } from "../annotations.ts";
import type { Evictions } from "./evictions.ts";
import { isExcluded, isMissed, type MissedRules, noteOf } from "./missed-pod.ts";

/** Events are told again, so that they outlive the hour for which the API server keeps them. */
const RESYNC_MILLIS: Millis = 30 * 60_000;
/** One pod at a time: what is evicted has to be scheduled, started and found healthy. */
const EVICTION_MILLIS: Millis = 10_000;
/** Pods that have ended want nothing any more. */
const RUNNING = "status.phase!=Succeeded,status.phase!=Failed";

export interface MissedPodsParts {
  readonly client: KubeClient;
  readonly rules: MissedRules;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
  /** Absent: pods are told of and left alone. */
  readonly evictions?: Evictions | undefined;
  /** Whether a pod that is created now would be injected. */
  isReady(): boolean;
}

export class MissedPods {
  readonly #parts: MissedPodsParts;
  readonly #missed = new Map<string, KubeObject>();
  constructor(parts: MissedPodsParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#missed.size;
  }

  /** Until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { client, rules, clock, log, events } = this.#parts;
    const reflector = createReflector({
      ...{ client, clock, log, kind: POD, metadataOnly: true, fieldSelector: RUNNING, resyncMillis: RESYNC_MILLIS },
      // No selector finds annotations.
      labelSelector: rules.vaultAnnotations ? undefined : `${INJECT_LABEL}=true`,
    });
    using _following = reflector.onChange(({ type, object }) => this.#follow(object, type === "deleted"));
    await Promise.all([reflector.run(signal), this.#evict(signal)]);
    this.#missed.clear();
    await events.flush();
  }

  #follow(pod: KubeObject, isGone: boolean): void {
    const { rules, events, log } = this.#parts;
    const key = keyOf({ namespace: pod.metadata.namespace, name: pod.metadata.name });
    if (isGone || !isMissed(pod, rules)) {
      this.#missed.delete(key);
      return;
    }
    const isNew = this.#missed.get(key)?.metadata.uid !== pod.metadata.uid;
    this.#missed.set(key, pod);
    const note = noteOf(pod, rules);
    if (isNew) log.warn("a pod asks for secrets and has no agent", { pod: key, reason: note });
    // What is watched are metadata, whose kind is another one.
    const regarding = { ...pod, apiVersion: "v1", kind: POD.kind };
    events.record({ regarding, type: "Warning", reason: "NotInjected", action: "Injecting", note });
  }

  async #evict(signal: AbortSignal): Promise<void> {
    const { evictions, clock, rules, isReady } = this.#parts;
    while (evictions && !signal.aborted) {
      await clock.sleep(EVICTION_MILLIS, signal);
      if (signal.aborted || !isReady()) continue;
      await evictions.next([...this.#missed.values()].filter((pod) => !isExcluded(pod, rules)));
    }
  }
}
