// Evicts missed pods, slowly and only where it helps: somebody must make the pod again, the webhook must be ready, and
// the pod as it is must be one that would be injected now, not refused. Disruption budgets are the API server's to keep.

import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { isKubeError } from "#kube/kube-error.ts";
import { type KubeObject, keyOf } from "#kube/kube-object.ts";
import { POD } from "#kube/resource-kinds.ts";
import type { Catalog } from "../catalog.ts";
import { mutate } from "../mutate.ts";
import type { InjectorSettings } from "../settings.ts";
import { controllerOf } from "./missed-pod.ts";

export interface EvictionParts {
  readonly client: KubeClient;
  readonly catalog: Catalog;
  readonly settings: InjectorSettings;
  readonly log: Log;
  onEvicted(): void;
}

/** Who makes a pod again without counting it as failed: a Job has a limit of those. */
const REMAKERS: ReadonlySet<string> = new Set(["ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController"]);
/** Owners that are remembered; beyond it the oldest are forgotten. */
const OWNERS_MAX = 4_096;

export class Evictions {
  readonly #parts: EvictionParts;
  /**
   * Of each owner the pods that were missed when it was first looked at. What is missed later came back without an agent,
   * so that evicting does not help: this owner is left alone from then on.
   */
  readonly #backlog = new Map<string, ReadonlySet<string>>();
  /** Pods that would be refused as they are. */
  readonly #refused = new Set<string>();
  constructor(parts: EvictionParts) {
    this.#parts = parts;
  }

  /** Tries one of these pods. */
  async next(missed: readonly KubeObject[]): Promise<void> {
    const uids = new Set(missed.map(uidOf));
    for (const uid of this.#refused) if (!uids.has(uid)) this.#refused.delete(uid);
    const pod = missed.find((each) => this.#isWorthwhile(each, missed));
    if (pod) await this.#evict(pod);
  }

  #isWorthwhile(pod: KubeObject, missed: readonly KubeObject[]): boolean {
    const { uid: owner = undefined, kind = "" } = controllerOf(pod) ?? {};
    if (owner === undefined || !REMAKERS.has(kind) || this.#refused.has(uidOf(pod))) return false;
    let backlog = this.#backlog.get(owner);
    if (!backlog) {
      backlog = new Set(missed.filter((each) => controllerOf(each)?.uid === owner).map(uidOf));
      this.#backlog.set(owner, backlog);
      const oldest = this.#backlog.keys().next();
      if (this.#backlog.size > OWNERS_MAX && oldest.done !== true) this.#backlog.delete(oldest.value);
    }
    return backlog.has(uidOf(pod));
  }

  async #evict({ metadata }: KubeObject): Promise<void> {
    const { client, catalog, settings, log, onEvicted } = this.#parts;
    const { namespace = "", name, uid = "" } = metadata;
    const pod = keyOf({ namespace, name });
    try {
      const whole = await client.get(POD, { namespace, name });
      if (whole?.metadata.uid !== uid) return;
      const outcome = mutate(whole, catalog.surroundings(namespace), settings);
      if (outcome.kind === "denied" || outcome.patch.length === 0) {
        this.#refused.add(uid);
        log.warn("a pod without injection is not evicted, for it would be refused anew", {
          pod,
          reason: outcome.kind === "denied" ? outcome.message : "nothing selects it",
        });
        return;
      }
      await client.request("POST", `/api/v1/namespaces/${namespace}/pods/${name}/eviction`, {
        ...{ apiVersion: "policy/v1", kind: "Eviction", metadata: { namespace, name } },
        deleteOptions: { preconditions: { uid } },
      });
      onEvicted();
      log.info("a pod without injection was evicted", { pod });
    } catch (error) {
      // 429: its disruption budget has nothing left; it is tried again. 404, 409: it is gone by itself.
      if (isKubeError(error) && [404, 409, 429].includes(error.status)) return;
      log.warn("a pod without injection cannot be evicted", { pod, reason: messageOf(error) });
    }
  }
}

function uidOf({ metadata }: KubeObject): string {
  return metadata.uid ?? "";
}
