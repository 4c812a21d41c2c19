// What the kubelet and the scheduler say of a pod, as far as status shows it.
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import type { KubeObject } from "#kube/kube-object.ts";

export interface PodFacts {
  readonly name: string;
  /** Why it does not run, in the kubelet's or the scheduler's words. */
  readonly trouble: string | undefined;
  /** Whether it was tried and failed, rather than that it waits for something. */
  readonly isFailing: boolean;
}

/** Waiting reasons that every pod passes through. */
const ORDINARY = new Set(["ContainerCreating", "PodInitializing"]);

export function podFacts(pod: KubeObject): PodFacts {
  return { name: pod.metadata.name, ...troubleOf(pod) };
}

function troubleOf(pod: KubeObject): Pick<PodFacts, "trouble" | "isFailing"> {
  const status = statusOf(pod);
  for (const container of containersOf(pod)) {
    const state = isJsonObject(container["state"]) ? container["state"] : {};
    const waiting = isJsonObject(state["waiting"]) ? state["waiting"] : {};
    const reason = waiting["reason"];
    if (typeof reason === "string" && !ORDINARY.has(reason))
      return { trouble: `${reason}: ${textOf(waiting["message"])}${lastWords(container)}`, isFailing: true };
  }
  const unscheduled = objectsIn(status["conditions"]).find(
    (one) => one["type"] === "PodScheduled" && one["status"] === "False" && one["reason"] === "Unschedulable",
  );
  const trouble = unscheduled && `the pod cannot be scheduled: ${textOf(unscheduled["message"])}`;
  return { trouble, isFailing: false };
}

/** How the container ended the last time, for crash loops. */
function lastWords(container: JsonObject): string {
  const last = isJsonObject(container["lastState"]) ? container["lastState"]["terminated"] : undefined;
  if (!isJsonObject(last)) return "";
  const code = last["exitCode"];
  return typeof code === "number" ? ` (ended with code ${code}; see the pod's log)` : "";
}

/** The last lines of the log of a container that has ended and has not begun again; undefined when none has. */
export function endingOf(pod: KubeObject): string | undefined {
  for (const container of containersOf(pod)) {
    const state = isJsonObject(container["state"]) ? container["state"] : {};
    const before = isJsonObject(container["lastState"]) ? container["lastState"] : {};
    if (isJsonObject(state["running"])) continue;
    for (const ended of [state["terminated"], before["terminated"]])
      if (isJsonObject(ended)) return textOf(ended["message"]);
  }
  return undefined;
}

export function isReady(pod: KubeObject): boolean {
  return objectsIn(statusOf(pod)["conditions"]).some((one) => one["type"] === "Ready" && one["status"] === "True");
}

export function podAddress(pod: KubeObject): string | undefined {
  const address = textOf(statusOf(pod)["podIP"]);
  return address === "" || pod.metadata.deletionTimestamp !== undefined ? undefined : address;
}

function containersOf(pod: KubeObject): readonly JsonObject[] {
  return objectsIn(statusOf(pod)["containerStatuses"]);
}

export function statusOf(object: KubeObject | undefined): JsonObject {
  return isJsonObject(object?.["status"]) ? object["status"] : {};
}

export function objectsIn(value: JsonValue | undefined): readonly JsonObject[] {
  return value !== undefined && isJsonArray(value) ? value.filter(isJsonObject) : [];
}

export function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}
