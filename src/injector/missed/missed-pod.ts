// Which pods ask for secrets and have no agent: they were created while the webhook was not there, before it was
// installed, or where it is not called. Decided by their metadata alone, so that nothing else of pods has to be watched.
import type { KubeObject, OwnerReference } from "#kube/kube-object.ts";
import { INJECT_LABEL, INJECTED_ANNOTATION } from "../annotations.ts";
import { asksByAnnotations, saysInjected } from "../vault/from-annotations.ts";
import { keyOf } from "../vault/read-annotations.ts";

export interface MissedRules {
  /** Whether the annotations of vault-k8s ask for secrets here. */
  readonly vaultAnnotations: boolean;
  /** Whose pods never come to the webhook. */
  readonly excludedNamespaces: ReadonlySet<string>;
}

/** Whether the pod asked and was not injected. One that is on its way out does not count. */
export function isMissed({ metadata }: KubeObject, { vaultAnnotations }: MissedRules): boolean {
  const { labels = {}, annotations = {}, deletionTimestamp } = metadata;
  const asks = labels[INJECT_LABEL] === "true" || (vaultAnnotations && asksReadably(annotations));
  return (
    asks && deletionTimestamp === undefined && annotations[INJECTED_ANNOTATION] !== "true" && !saysInjected(annotations)
  );
}

/** One whose annotation cannot be read is refused when it is made again, and nothing to be waited for. */
function asksReadably(annotations: Readonly<Record<string, string>>): boolean {
  try {
    return asksByAnnotations(annotations);
  } catch {
    return false;
  }
}

/** Who would make the pod again. */
export function controllerOf({ metadata }: KubeObject): OwnerReference | undefined {
  return metadata.ownerReferences?.find(({ controller }) => controller === true);
}

export function isExcluded({ metadata }: KubeObject, { excludedNamespaces }: MissedRules): boolean {
  return excludedNamespaces.has(metadata.namespace ?? "");
}

/** What is wrong with a missed pod, and what to do. */
export function noteOf(pod: KubeObject, rules: MissedRules): string {
  const asked = pod.metadata.labels?.[INJECT_LABEL] === "true" ? `label ${INJECT_LABEL}` : keyOf("inject");
  const has = `The pod asks for secrets (${asked}) and has no agent`;
  if (isExcluded(pod, rules))
    return `${has}: pods of this namespace are never sent to the injector. Move it, or take the namespace off webhook.excludedNamespaces`;
  const next = controllerOf(pod) ? "Delete it, and it is made anew with one" : "Make it anew";
  return `${has}: it was created while the injector was not asked. ${next}`;
}
