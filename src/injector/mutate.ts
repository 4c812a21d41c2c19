// The injector's decision: a pod, the bindings and clusters around it, and the settings give a JSON Patch or a refusal.
// Pure: no network, no clock, the same answer every time; a pod that has been injected is left alone.
import { CofferError, type ErrorCode } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { matchesSelector } from "#operator/api/references.ts";
import {
  BINDINGS_ANNOTATION,
  COFFER_PREFIX,
  INJECT_LABEL,
  INJECTED_ANNOTATION,
  KNOWN_ANNOTATIONS,
} from "./annotations.ts";
import { injectionFromBindings } from "./from-bindings.ts";
import type { Injection } from "./injection.ts";
import type { Surroundings } from "./match.ts";
import { type PatchOperation, patchOf } from "./patch.ts";
import { AGENT_CONTAINER, HELPER_CONTAINER } from "./paths.ts";
import { type Pod, readPod } from "./pod.ts";
import type { InjectorSettings } from "./settings.ts";
import { asksByAnnotations, injectionFromAnnotations, saysInjected } from "./vault/from-annotations.ts";
import { keyOf } from "./vault/read-annotations.ts";

export type Mutation =
  /** No operations: the pod is not to be changed. */
  | { readonly kind: "allowed"; readonly patch: readonly PatchOperation[]; readonly warnings: readonly string[] }
  | { readonly kind: "denied"; readonly code: ErrorCode; readonly message: string };

/** By what a pod asks for secrets. With both, bindings that select it count, and the annotations stand in for none. */
type Asking = "bindings" | "annotations";

/** Decides about a pod. Never throws for what a pod or a binding holds. */
export function mutate(json: JsonObject, surroundings: Surroundings, settings: InjectorSettings): Mutation {
  try {
    const pod = readPod(json);
    const asking = askingOf(pod, surroundings);
    if (asking === undefined || isInjected(pod)) return allowed();
    if (asking === "annotations" && saysInjected(pod.annotations)) {
      return allowed([
        `${keyOf("status")} says that the pod has been injected, so it is left alone; it has no agent: remove that annotation`,
      ]);
    }
    assertInjectable(pod, asking);
    const injection = injectionOf(pod, asking, surroundings, settings);
    return { kind: "allowed", patch: patchOf(json, pod, injection, settings), warnings: injection.warnings };
  } catch (error) {
    if (error instanceof CofferError) return { kind: "denied", code: error.code, message: error.message };
    throw error;
  }
}

function allowed(warnings: readonly string[] = []): Mutation {
  return { kind: "allowed", patch: [], warnings };
}

function askingOf(pod: Pod, { bindings }: Surroundings): Asking | undefined {
  const isLabelled = pod.labels[INJECT_LABEL] === "true";
  if (isLabelled && bindings.some(({ spec }) => matchesSelector(spec.selector, pod.labels))) return "bindings";
  if (asksByAnnotations(pod.annotations)) return "annotations";
  return isLabelled ? "bindings" : undefined;
}

function injectionOf(pod: Pod, asking: Asking, around: Surroundings, settings: InjectorSettings): Injection {
  if (asking === "annotations") return injectionFromAnnotations(pod, around, settings);
  const injection = injectionFromBindings(pod, around, settings);
  if (!asksByAnnotations(pod.annotations)) return injection;
  const names = injection.annotations[BINDINGS_ANNOTATION];
  const warning = `${keyOf("inject")} has no effect: the pod receives what the SecretBindings ${names} give`;
  return { ...injection, warnings: [...injection.warnings, warning] };
}

function hasAgent(pod: Pod): boolean {
  return [...pod.initContainers, ...pod.containers].some((container) => container.name === AGENT_CONTAINER);
}

function isInjected(pod: Pod): boolean {
  return pod.annotations[INJECTED_ANNOTATION] === "true" && hasAgent(pod);
}

function assertInjectable(pod: Pod, asking: Asking): void {
  if (pod.windows) {
    const switchedBy = asking === "bindings" ? `label ${INJECT_LABEL}` : `annotation ${keyOf("inject")}`;
    throw new CofferError(
      "invalid_request",
      `secrets cannot be injected into pods on Windows: remove the ${switchedBy} and read them through the API`,
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
  assertOwnAnnotations(pod);
}

/** A slip in an annotation of ours would be a pod that lacks what somebody believes it has. */
function assertOwnAnnotations({ annotations }: Pod): void {
  const unknown = Object.keys(annotations).find((key) => key.startsWith(COFFER_PREFIX) && !KNOWN_ANNOTATIONS.has(key));
  if (unknown === undefined) return;
  const message =
    unknown === INJECT_LABEL
      ? `${unknown} is a label, not an annotation: move it to metadata.labels`
      : `the annotation ${unknown} is not known: remove it, or correct its name`;
  throw new CofferError("invalid_request", message);
}
