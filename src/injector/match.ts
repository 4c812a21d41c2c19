// Which SecretBindings a pod receives, and from which VaultCluster. Every way to receive nothing ends in a sentence that
// says what to change, for a pod that silently starts without its secrets is worse than one that is refused.
import { CofferError } from "#common/errors.ts";
import { findCondition, holds } from "#operator/api/conditions.ts";
import { matchesSelector } from "#operator/api/references.ts";
import type { SecretBinding } from "#operator/api/secret-binding.ts";
import type { VaultCluster } from "#operator/api/vault-cluster.ts";
import { resolveVault } from "#operator/api/vault-ref.ts";
import { INJECT_LABEL } from "./annotations.ts";
import type { Pod } from "./pod.ts";

/** What is known when a pod is admitted: all bindings of its namespace, and all clusters. */
export interface Surroundings {
  readonly namespace: string;
  readonly bindings: readonly SecretBinding[];
  readonly clusters: readonly VaultCluster[];
}

export interface Match {
  /** In order of their names, at least one. */
  readonly bindings: readonly SecretBinding[];
  readonly cluster: VaultCluster;
  readonly address: string;
}

/** "SecretBinding team/db", as messages name it. */
export function titleOf(binding: SecretBinding): string {
  return `SecretBinding ${binding.metadata.namespace}/${binding.metadata.name}`;
}

/** Finds the bindings and their cluster. Throws `invalid_request`, or `unavailable` when waiting will do. */
export function match(pod: Pod, surroundings: Surroundings): Match {
  const bindings = bindingsOf(pod, surroundings);
  for (const binding of bindings) assertAccepted(binding);
  const cluster = clusterOf(bindings, surroundings.clusters);
  const address = cluster.status?.address;
  if (!address) {
    throw new CofferError(
      "unavailable",
      `VaultCluster ${nameOf(cluster)} has no address yet: wait until it is ready (kubectl get vc -n ${cluster.metadata.namespace})`,
    );
  }
  return { bindings, cluster, address };
}

function nameOf(cluster: VaultCluster): string {
  return `${cluster.metadata.namespace}/${cluster.metadata.name}`;
}

function bindingsOf(pod: Pod, { namespace, bindings }: Surroundings): readonly SecretBinding[] {
  const selecting = bindings.filter(
    (binding) =>
      binding.metadata.deletionTimestamp === undefined &&
      servesPods(binding) &&
      matchesSelector(binding.spec.selector, pod.labels),
  );
  const forAccount = selecting.filter(({ spec }) => spec.serviceAccounts?.includes(pod.serviceAccount) ?? true);
  const live = forAccount.filter(({ spec }) => !spec.suspend);
  if (live.length > 0) return live.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const [suspended] = forAccount;
  if (suspended) {
    throw new CofferError(
      "invalid_request",
      `${titleOf(suspended)} selects the pod but is suspended: set its spec.suspend to false`,
    );
  }
  const [other] = selecting;
  if (other) {
    throw new CofferError(
      "invalid_request",
      `${titleOf(other)} selects the pod but not its ServiceAccount "${pod.serviceAccount}": add that to spec.serviceAccounts, or run the pod as ${(other.spec.serviceAccounts ?? []).join(" or ")}`,
    );
  }
  throw new CofferError(
    "invalid_request",
    `the pod has the label ${INJECT_LABEL}: "true", but no SecretBinding in namespace ${namespace} selects it: create one whose spec.selector matches the pod's labels and whose spec.serviceAccounts, if set, has "${pod.serviceAccount}", or remove the label`,
  );
}

/** One that only keeps a Kubernetes Secret is nothing to pods. */
function servesPods({ spec }: SecretBinding): boolean {
  return spec.secret === undefined || spec.files.length > 0 || spec.env.length > 0;
}

/** Only what the operator wrote to the server can be read there. A changed binding keeps what it had until then. */
function assertAccepted(binding: SecretBinding): void {
  const { name, namespace } = binding.metadata;
  const stalled = findCondition(binding.status, "Stalled");
  if (stalled?.status === "True") {
    throw new CofferError("invalid_request", `${titleOf(binding)} is refused (${stalled.reason}): ${stalled.message}`);
  }
  if (holds(binding.status, "Synced")) return;
  const synced = findCondition(binding.status, "Synced");
  const why = synced === undefined ? "the operator has not seen it" : `${synced.reason}: ${synced.message}`;
  throw new CofferError(
    "unavailable",
    `${titleOf(binding)} is not accepted yet (${why}); the pod can be created once it is: kubectl describe sb ${name} -n ${namespace}`,
  );
}

function clusterOf(bindings: readonly SecretBinding[], clusters: readonly VaultCluster[]): VaultCluster {
  const found = bindings.map((binding) => {
    const resolved = resolveVault(binding, clusters);
    if (resolved.kind === "found") return { binding, cluster: resolved.cluster };
    throw new CofferError("invalid_request", `${titleOf(binding)} (${resolved.reason}): ${resolved.message}`);
  });
  const [first, ...rest] = found;
  if (first === undefined) throw new CofferError("internal", "a match needs at least one binding");
  const other = rest.find(({ cluster }) => nameOf(cluster) !== nameOf(first.cluster));
  if (other) {
    throw new CofferError(
      "invalid_request",
      `${titleOf(first.binding)} and ${titleOf(other.binding)} select the pod but use different VaultClusters (${nameOf(first.cluster)} and ${nameOf(other.cluster)}): a pod can have one`,
    );
  }
  return first.cluster;
}
