// An admission request in, an admission response out: which requests are ours, and how a decision is told.
import type { AdmissionRequest, AdmissionResponse } from "#kube/admission.ts";
import type { Catalog } from "./catalog.ts";
import { mutate } from "./mutate.ts";
import type { InjectorSettings } from "./settings.ts";

/** What becomes of requests, for the metrics. */
export type Outcome = "injected" | "unchanged" | "denied";

export interface Review {
  readonly outcome: Outcome;
  readonly response: AdmissionResponse;
}

/** Decides about a request. Has no effect, so a dry run is answered as any other. */
export function review(request: AdmissionRequest, catalog: Catalog, settings: InjectorSettings): Review {
  const { uid, object } = request;
  const isPod =
    request.resource.group === "" && request.resource.resource === "pods" && request.subResource === undefined;
  if (!isPod || request.operation !== "CREATE" || object === undefined) {
    return { outcome: "unchanged", response: { uid, allowed: true } };
  }
  const mutation = mutate(object, catalog.surroundings(request.namespace), settings);
  if (mutation.kind === "denied") {
    return { outcome: "denied", response: { uid, allowed: false, message: mutation.message } };
  }
  const { patch, warnings } = mutation;
  return { outcome: patch.length > 0 ? "injected" : "unchanged", response: { uid, allowed: true, patch, warnings } };
}
