// Names of everything that belongs to a VaultCluster, for those who make it and those who look for it.
import type { JsonObject } from "#common/json.ts";
import { API_VERSION, type Metadata } from "./api/resource.ts";
import type { VaultCluster } from "./api/vault-cluster.ts";

type Named = { readonly metadata: Pick<Metadata, "name" | "namespace"> };

/** On every object of a cluster and on its pods; the value is the cluster's name. */
export const CLUSTER_LABEL = "coffer.dev/cluster";
/** On every Kubernetes Secret that a SecretBinding keeps: what becomes of it ("Owner", "Merge-Retain", …). */
export const KEPT_LABEL = "coffer.dev/secret";
export const SERVER_PORT = 8200;
/** Mount of the auth method that only the operator uses, and its role there. */
export const OPERATOR_AUTH_MOUNT = "coffer-operator";
export const OPERATOR_ROLE = "operator";
export const BOUNDARY_POLICY = "coffer-boundary";
export const OPERATOR_POLICY = "coffer-operator";

/** "namespace/name", as references and the server's cluster_name have it. */
export function titleOf({ metadata }: Named): string {
  return `${metadata.namespace}/${metadata.name}`;
}
/** The name that certificates carry and clients use. */
export function serviceHost({ metadata }: Named): string {
  return `${metadata.name}.${metadata.namespace}.svc`;
}
export function serverAddress(cluster: Named): string {
  return `https://${serviceHost(cluster)}:${SERVER_PORT}`;
}
export function internalServiceName({ metadata }: Named): string {
  return `${metadata.name}-internal`;
}
export function authoritySecretName({ metadata }: Named): string {
  return `${metadata.name}-ca`;
}
/** The Secret that the server's certificate comes from, whoever made it. */
export function tlsSecretName({ metadata, spec }: VaultCluster): string {
  return spec.tls.secretRef?.name ?? `${metadata.name}-tls`;
}
/**
 * The ConfigMap with the authority's certificate as ca.crt, the same name in every namespace. Names of namespaces hold
 * no dot, so no two clusters can have the same one.
 */
export function caBundleName({ metadata }: Named): string {
  return `coffer-ca.${metadata.namespace}.${metadata.name}`;
}
/** Cluster-wide, so it carries both names. */
export function authDelegatorName({ metadata }: Named): string {
  return `coffer.${metadata.namespace}.${metadata.name}.auth-delegator`;
}

/** The sorts of pods that a cluster has. */
export type Component = "server" | "etcd";
const COMPONENT_LABEL = "app.kubernetes.io/component";

/** What selects the pods of a cluster: its servers, or those of another sort. */
export function selectorLabels({ metadata }: Named, component: Component = "server"): Readonly<Record<string, string>> {
  return {
    "app.kubernetes.io/name": "coffer",
    [COMPONENT_LABEL]: component,
    [CLUSTER_LABEL]: metadata.name,
  };
}
export function objectLabels(cluster: Named, component: Component = "server"): Readonly<Record<string, string>> {
  return { ...selectorLabels(cluster, component), "app.kubernetes.io/managed-by": "coffer-operator" };
}

/** Whether a pod, by its labels, is one of the cluster's, of that sort. */
export function isPodOf(
  cluster: Named,
  { labels = {} }: { readonly labels?: Readonly<Record<string, string>> },
  component: Component = "server",
): boolean {
  return labels[CLUSTER_LABEL] === cluster.metadata.name && labels[COMPONENT_LABEL] === component;
}

/** Makes an object go when its owner goes. */
export function ownerReference(kind: string, metadata: Metadata, controller: boolean): JsonObject {
  return {
    apiVersion: API_VERSION,
    kind,
    name: metadata.name,
    uid: metadata.uid,
    ...(controller ? { controller: true, blockOwnerDeletion: true } : {}),
  };
}
