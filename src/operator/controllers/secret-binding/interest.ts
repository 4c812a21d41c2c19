// Which changes of objects concern which bindings: all that is not here need not be looked at. Pure.
import { isJsonObject } from "#common/json.ts";
import type { KubeObject } from "#kube/kube-object.ts";
import type { Change } from "#kube/reflector.ts";

/** A status or a finalizer that was written says nothing new to who wrote it. */
export function isOwnWrite({ type, object, previous }: Change): boolean {
  const { generation, annotations, deletionTimestamp } = object.metadata;
  const before = previous?.metadata;
  const isSame = generation === before?.generation && deletionTimestamp === before?.deletionTimestamp;
  return type === "modified" && isSame && JSON.stringify(annotations) === JSON.stringify(before?.annotations);
}

/**
 * Whether a change says something about the other bindings of the namespace: ServiceAccounts that it names, or named, get
 * roles of their own, which carry the policies of bindings that name none; and the CA's ConfigMap has other owners when
 * one goes.
 */
export function changesNeighbours({ type, object, previous, initial }: Change): boolean {
  if (initial || type === "resync") return false;
  if (type === "deleted") return true;
  return JSON.stringify(accountsOf(object)) !== JSON.stringify(accountsOf(previous));
}

function accountsOf(object: KubeObject | undefined): unknown {
  return isJsonObject(object?.["spec"]) ? object["spec"]["serviceAccounts"] : undefined;
}

/** The spec, whether it serves, or whether it is there: what bindings wait for. */
export function changesBindings({ type, object, previous, initial }: Change): boolean {
  if (initial || type === "resync") return false;
  if (type !== "modified") return true;
  return object.metadata.generation !== previous?.metadata.generation || readiness(object) !== readiness(previous);
}

function readiness(object: KubeObject | undefined): string {
  const status = isJsonObject(object?.["status"]) ? object["status"] : {};
  const conditions = Array.isArray(status["conditions"]) ? status["conditions"].filter(isJsonObject) : [];
  return String(conditions.find((one) => one["type"] === "Ready")?.["status"]);
}

export function changesLabels({ type, object, previous, initial }: Change): boolean {
  if (initial || type !== "modified") return false;
  return JSON.stringify(object.metadata.labels) !== JSON.stringify(previous?.metadata.labels);
}
