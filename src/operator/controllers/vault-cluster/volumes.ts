// Volumes of existing pods, grown to the size that the spec asks for. The template of a StatefulSet cannot change, so its
// claims are grown one by one, those of pods that come later too.
import { isJsonObject, type JsonValue } from "#common/json.ts";
import type { Finding } from "#kube/conditions.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { isKubeError } from "#kube/kube-error.ts";
import type { KubeObject } from "#kube/kube-object.ts";
import { PERSISTENT_VOLUME_CLAIM } from "#kube/resource-kinds.ts";
import type { VaultCluster } from "../../api/vault-cluster.ts";
import { type Component, selectorLabels } from "../../cluster-names.ts";
import { statusOf, textOf } from "./pod-facts.ts";
import { quantityBytes } from "./quantity.ts";

export interface VolumeState {
  /** Names of claims that have not got their size yet. */
  readonly growing: readonly string[];
  /** Why one cannot grow. */
  readonly refusal: string | undefined;
}

/**
 * Asks for more where a claim is smaller than the spec says. Undefined while the StatefulSet makes claims of that size
 * anyway. Throws KubeError when the API server cannot be asked.
 */
export async function growVolumes(
  client: KubeClient,
  cluster: VaultCluster,
  { component, templateSize }: { component: Component; templateSize: string | undefined },
  signal: AbortSignal,
): Promise<VolumeState | undefined> {
  const { size } = cluster.spec.storage;
  if (templateSize === undefined || quantityBytes(templateSize) === quantityBytes(size)) return undefined;
  const { namespace } = cluster.metadata;
  const labelSelector = Object.entries(selectorLabels(cluster, component))
    .map(([name, value]) => `${name}=${value}`)
    .join(",");
  const { items } = await client.list(PERSISTENT_VOLUME_CLAIM, { namespace, labelSelector, signal });
  const wanted = quantityBytes(size) ?? 0;
  const small = items.filter((claim) => sizeIn(statusOf(claim)["capacity"]) < wanted);
  let refusal: string | undefined;
  for (const claim of small.filter((one) => requestOf(one) < wanted)) {
    try {
      const patch = { spec: { resources: { requests: { storage: size } } } };
      await client.mergePatch(PERSISTENT_VOLUME_CLAIM, { namespace, name: claim.metadata.name }, patch, { signal });
    } catch (error) {
      if (!isKubeError(error, "Forbidden", "Invalid")) throw error;
      refusal ??= error.message;
    }
  }
  return { growing: small.map(({ metadata }) => metadata.name).toSorted(), refusal };
}

/** What status says of it. */
export function volumeFinding({ growing, refusal }: VolumeState): Finding {
  const type = "VolumesSized";
  const names = growing.join(", ");
  if (refusal !== undefined)
    return {
      ...{ type, status: "False", reason: "VolumeRefused" },
      message: `${names} cannot grow: let the storage class do so (allowVolumeExpansion), or move the data to another cluster (${refusal})`,
    };
  if (growing.length > 0)
    return { type, status: "False", reason: "VolumeResizing", message: `${names} grows, while everything goes on` };
  return { type, status: "True", reason: "VolumesGrown", message: "every volume has the size that the spec says" };
}

function requestOf(claim: KubeObject): number {
  const spec = isJsonObject(claim["spec"]) ? claim["spec"] : {};
  const resources = isJsonObject(spec["resources"]) ? spec["resources"] : {};
  return sizeIn(resources["requests"]);
}

function sizeIn(amounts: JsonValue | undefined): number {
  return quantityBytes(isJsonObject(amounts) ? textOf(amounts["storage"]) : "") ?? 0;
}
