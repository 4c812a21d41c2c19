// The objects of a cluster besides its pods: identity, configuration, addresses, what limits disruption.
import type { JsonObject } from "#common/json.ts";
import {
  CLUSTER_ROLE_BINDING,
  CONFIG_MAP,
  POD_DISRUPTION_BUDGET,
  SERVICE,
  SERVICE_ACCOUNT,
} from "#kube/resource-kinds.ts";
import type { VaultCluster } from "../../api/vault-cluster.ts";
import {
  authDelegatorName,
  caBundleName,
  internalServiceName,
  objectLabels,
  SERVER_PORT,
  selectorLabels,
} from "../../cluster-names.ts";
import type { DesiredObject } from "../decision.ts";
import { CONFIG_FILE } from "./server-config.ts";

/** Everything but the pods. `caBundle`: the authority's certificate, unless clients trust the system's authorities. */
export function supportingObjects(inputs: {
  cluster: VaultCluster;
  config: JsonObject;
  caBundle: string | undefined;
  owner: JsonObject;
}): readonly DesiredObject[] {
  const { cluster, config, caBundle, owner } = inputs;
  const { metadata, spec } = cluster;
  const meta = (name: string) => ({
    name,
    namespace: metadata.namespace,
    labels: objectLabels(cluster),
    ownerReferences: [owner],
  });
  const configMap = (name: string, data: JsonObject) => ({ kind: CONFIG_MAP, object: { metadata: meta(name), data } });
  const port = { name: "https", port: SERVER_PORT, targetPort: "https", protocol: "TCP" };
  const service = (name: string, more: JsonObject) => ({
    kind: SERVICE,
    object: { metadata: meta(name), spec: { selector: selectorLabels(cluster), ports: [port], ...more } },
  });
  return [
    {
      kind: SERVICE_ACCOUNT,
      object: { metadata: { ...meta(`${metadata.name}-server`), ...accountAnnotations(cluster) } },
    },
    authDelegator(cluster),
    configMap(`${metadata.name}-config`, { [CONFIG_FILE]: `${JSON.stringify(config, null, 2)}\n` }),
    ...(caBundle === undefined ? [] : [configMap(caBundleName(cluster), { "ca.crt": caBundle })]),
    service(metadata.name, { type: "ClusterIP" }),
    // Sealed pods have names too: that is how one asks them what they wait for.
    service(internalServiceName(cluster), { clusterIP: "None", publishNotReadyAddresses: true }),
    ...(spec.replicas > 1 ? [disruptionBudget(cluster, meta(metadata.name))] : []),
  ];
}

function accountAnnotations({ spec }: VaultCluster): JsonObject {
  const annotations = spec.podTemplate.serviceAccountAnnotations;
  return Object.keys(annotations).length === 0 ? {} : { annotations };
}

/** Lets the servers ask the API server whose a token is. Cluster-wide, so it has no owner: a finalizer removes it. */
function authDelegator(cluster: VaultCluster): DesiredObject {
  const { name, namespace } = cluster.metadata;
  return {
    kind: CLUSTER_ROLE_BINDING,
    object: {
      metadata: { name: authDelegatorName(cluster), labels: objectLabels(cluster) },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:auth-delegator" },
      subjects: [{ kind: "ServiceAccount", name: `${name}-server`, namespace }],
    },
  };
}

/** AlwaysAllow: a pod that does not serve anyway must not keep a node from being drained. */
function disruptionBudget(cluster: VaultCluster, metadata: JsonObject): DesiredObject {
  const selector = { matchLabels: selectorLabels(cluster) };
  const spec = { maxUnavailable: 1, unhealthyPodEvictionPolicy: "AlwaysAllow", selector };
  return { kind: POD_DISRUPTION_BUDGET, object: { metadata, spec } };
}
