// Where pods of a VaultCluster may and should run: the scheduling part of a pod's spec.
import type { JsonObject } from "#common/json.ts";
import type { VaultCluster } from "../../api/vault-cluster.ts";
import { type Component, selectorLabels } from "../../cluster-names.ts";

const NODE = "kubernetes.io/hostname";
/** Counts for more than anything else that the scheduler prefers. */
const WEIGHT = 100;

/** `isSeveral`: there is more than one such pod, so they should keep apart. */
export function placement(cluster: VaultCluster, component: Component, isSeveral: boolean): JsonObject {
  const { nodeSelector, tolerations, priorityClassName } = cluster.spec.scheduling;
  return {
    ...(isSeveral ? apart(cluster, component) : {}),
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    ...(tolerations === undefined ? {} : { tolerations: tolerations.map(present) }),
    ...(priorityClassName === undefined ? {} : { priorityClassName }),
  };
}

function apart(cluster: VaultCluster, component: Component): JsonObject {
  const { antiAffinity, topologySpread } = cluster.spec.scheduling;
  const labelSelector = { matchLabels: selectorLabels(cluster, component) };
  const term = { topologyKey: NODE, labelSelector };
  const rules = {
    Preferred: {
      preferredDuringSchedulingIgnoredDuringExecution: [{ weight: WEIGHT, podAffinityTerm: term }],
    },
    Required: { requiredDuringSchedulingIgnoredDuringExecution: [term] },
    None: undefined,
  };
  const podAntiAffinity = rules[antiAffinity];
  return {
    ...(podAntiAffinity === undefined ? {} : { affinity: { podAntiAffinity } }),
    ...(topologySpread.length === 0
      ? {}
      : { topologySpreadConstraints: topologySpread.map((one) => ({ ...one, labelSelector })) }),
  };
}

type Toleration = NonNullable<VaultCluster["spec"]["scheduling"]["tolerations"]>[number];

/** Without the members that are undefined. */
function present({ key, operator, value, effect, tolerationSeconds }: Toleration): JsonObject {
  return {
    ...(key === undefined ? {} : { key }),
    ...(operator === undefined ? {} : { operator }),
    ...(value === undefined ? {} : { value }),
    ...(effect === undefined ? {} : { effect }),
    ...(tolerationSeconds === undefined ? {} : { tolerationSeconds }),
  };
}
