// Which VaultCluster a SecretBinding means: decided here for operator and injector alike.
import { findCondition } from "./conditions.ts";
import type { SecretBinding } from "./secret-binding.ts";
import type { VaultCluster } from "./vault-cluster.ts";

export type ResolvedVault =
  | { readonly kind: "found"; readonly cluster: VaultCluster }
  | { readonly kind: "none"; readonly reason: "VaultNotFound" | "VaultAmbiguous"; readonly message: string };

/** The one that `vaultRef` names; without it the default one, or the only one there is. */
export function resolveVault(binding: SecretBinding, clusters: readonly VaultCluster[]): ResolvedVault {
  const { vaultRef } = binding.spec;
  if (vaultRef !== undefined) {
    const wanted = clusters.find(
      (c) => c.metadata.name === vaultRef.name && c.metadata.namespace === vaultRef.namespace,
    );
    if (wanted) return { kind: "found", cluster: wanted };
    const where = `${vaultRef.namespace}/${vaultRef.name}`;
    return none("VaultNotFound", `there is no VaultCluster ${where}: create it or correct spec.vaultRef`);
  }
  return resolveDefaultVault(clusters);
}

/** The default one, or the only one there is. */
export function resolveDefaultVault(clusters: readonly VaultCluster[]): ResolvedVault {
  const run = clusters.filter(isRun);
  const defaults = run.filter((cluster) => cluster.spec.default);
  const candidates = defaults.length > 0 ? defaults : run;
  const [only, another] = candidates;
  if (only === undefined) return none("VaultNotFound", "there is no VaultCluster yet: create one");
  if (another === undefined) return { kind: "found", cluster: only };
  const which = defaults.length > 0 ? "several VaultClusters are the default" : "there are several VaultClusters";
  return none("VaultAmbiguous", `${which}: set spec.vaultRef, or spec.default of exactly one of them`);
}

/** One that no operator runs, in a namespace that is not the operator's business, must not stand in the others' way. */
function isRun({ status }: VaultCluster): boolean {
  return findCondition(status, "Stalled")?.reason !== "NamespaceNotManaged";
}

function none(reason: "VaultNotFound" | "VaultAmbiguous", message: string): ResolvedVault {
  return { kind: "none", reason, message };
}
