// How far the server pods are the ones that the spec asks for, by the status of their Deployment or StatefulSet.
import type { KubeObject } from "#kube/kube-object.ts";
import { objectsIn, statusOf } from "./pod-facts.ts";

export interface Rollout {
  readonly updated: number;
  readonly total: number;
  /** A new pod did not get ready in time, so that old ones stay; undefined while all goes well. */
  readonly halted: string | undefined;
}

const HALTED = "a new server pod does not get ready, so the update has halted; the old ones go on serving";

/** Undefined while there is no workload. */
export function rolloutOf(object: KubeObject | undefined): Rollout | undefined {
  if (object === undefined) return undefined;
  const status = statusOf(object);
  const count = (name: string) => (typeof status[name] === "number" ? status[name] : 0);
  // Until Kubernetes has looked at the newest template its counts are about another one.
  const isSeen = status["observedGeneration"] === object.metadata.generation;
  const updated = isSeen ? count("updatedReplicas") : 0;
  const total = count("replicas");
  const isLate = objectsIn(status["conditions"]).some(
    (one) => one["type"] === "Progressing" && one["status"] === "False" && one["reason"] === "ProgressDeadlineExceeded",
  );
  // The first pods of a cluster may be late, too: what they wait for is said elsewhere, and nothing has halted.
  return { updated, total, halted: isSeen && isLate && updated < total ? HALTED : undefined };
}
