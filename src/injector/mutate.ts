// The injector's decision: a pod, the bindings and clusters around it, and the settings give a JSON Patch or a refusal.
// Pure: no network, no clock, the same answer every time; a pod that has been injected is left alone.
import { CofferError, type ErrorCode } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { INJECT_LABEL, INJECTED_ANNOTATION } from "./annotations.ts";
import { injectionFromBindings } from "./from-bindings.ts";
import type { Surroundings } from "./match.ts";
import { type PatchOperation, patchOf } from "./patch.ts";
import { AGENT_CONTAINER, HELPER_CONTAINER } from "./paths.ts";
import { type Pod, readPod } from "./pod.ts";
import type { InjectorSettings } from "./settings.ts";

export type Mutation =
  /** No operations: the pod is not to be changed. */
  | { readonly kind: "allowed"; readonly patch: readonly PatchOperation[]; readonly warnings: readonly string[] }
  | { readonly kind: "denied"; readonly code: ErrorCode; readonly message: string };

/** Decides about a pod. Never throws for what a pod or a binding holds. */
export function mutate(json: JsonObject, surroundings: Surroundings, settings: InjectorSettings): Mutation {
  try {
    const pod = readPod(json);
    if (pod.labels[INJECT_LABEL] !== "true" || isInjected(pod)) return { kind: "allowed", patch: [], warnings: [] };
    assertInjectable(pod);
    const injection = injectionFromBindings(pod, surroundings, settings);
    return { kind: "allowed", patch: patchOf(json, pod, injection, settings), warnings: injection.warnings };
  } catch (error) {
    if (error instanceof CofferError) return { kind: "denied", code: error.code, message: error.message };
    throw error;
  }
}

function hasAgent(pod: Pod): boolean {
  return [...pod.initContainers, ...pod.containers].some((container) => container.name === AGENT_CONTAINER);
}

function isInjected(pod: Pod): boolean {
  return pod.annotations[INJECTED_ANNOTATION] === "true" && hasAgent(pod);
}

function assertInjectable(pod: Pod): void {
  if (pod.windows) {
    throw new CofferError(
      "invalid_request",
      `secrets cannot be injected into pods on Windows: remove the label ${INJECT_LABEL} and read them through the API`,
    );
  }
  const taken = [...pod.initContainers, ...pod.containers].find(
    ({ name }) => name === AGENT_CONTAINER || name === HELPER_CONTAINER,
  );
  if (taken) {
    throw new CofferError(
      "invalid_request",
      `the pod already has a container named ${taken.name}: rename it, or start from a manifest that has not been injected`,
    );
  }
}
