// Names and addresses of the etcd cluster that the operator runs for a VaultCluster.
import type { VaultCluster } from "../../../api/vault-cluster.ts";

type Named = { readonly metadata: Pick<VaultCluster["metadata"], "name" | "namespace"> };

export const CLIENT_PORT = 2379;
export const PEER_PORT = 2380;
/** Health and metrics, without TLS and without data. */
export const METRICS_PORT = 2381;
/** As many members as there can be; certificates name all of them. */
export const MEMBERS_MAX = 5;

/** Of the StatefulSet, of the Service that gives members their names, and before every member's number. */
export function etcdName({ metadata }: Named): string {
  return `${metadata.name}-etcd`;
}
/** The Service of those members that work. */
export function etcdClientName(cluster: Named): string {
  return `${etcdName(cluster)}-client`;
}
export function etcdConfigName(cluster: Named): string {
  return `${etcdName(cluster)}-config`;
}
export function etcdAuthorityName(cluster: Named): string {
  return `${etcdName(cluster)}-ca`;
}
export function etcdTlsName(cluster: Named): string {
  return `${etcdName(cluster)}-tls`;
}
/** The Secret with the certificate that servers (and the operator) show to members. */
export function etcdClientTlsName(cluster: Named): string {
  return `${etcdClientName(cluster)}-tls`;
}

export function memberName(cluster: Named, ordinal: number): string {
  return `${etcdName(cluster)}-${ordinal}`;
}
/** The number at the end of a member's name; undefined for one that is not ours. */
export function ordinalOf(cluster: Named, name: string): number | undefined {
  const prefix = `${etcdName(cluster)}-`;
  const ordinal = name.startsWith(prefix) ? Number(name.slice(prefix.length)) : Number.NaN;
  return Number.isInteger(ordinal) && ordinal >= 0 ? ordinal : undefined;
}
export function memberHost(cluster: Named, name: string): string {
  return `${name}.${etcdName(cluster)}.${cluster.metadata.namespace}.svc`;
}
export function peerUrl(cluster: Named, name: string): string {
  return `https://${memberHost(cluster, name)}:${PEER_PORT}`;
}
export function clientUrl(cluster: Named, name: string): string {
  return `https://${memberHost(cluster, name)}:${CLIENT_PORT}`;
}
/** What servers begin with; the members tell them the rest. */
export function etcdAddress(cluster: Named): string {
  return `https://${etcdClientName(cluster)}.${cluster.metadata.namespace}.svc:${CLIENT_PORT}`;
}

/** The names that the members' certificate is for. */
export function etcdNames(cluster: Named): readonly string[] {
  const { namespace } = cluster.metadata;
  // Each by itself and in full: before 3.5 a member asks DNS for the names of the address that calls it, and for the
  // addresses of the names that its certificate has. The first is right as soon as the pod has an address; the second may
  // be half a minute old.
  const hosts = Array.from({ length: MEMBERS_MAX }, (_, ordinal) => memberHost(cluster, memberName(cluster, ordinal)));
  const members = hosts.flatMap((host) => [host, `${host}.cluster.local`]);
  return [...members, `${etcdClientName(cluster)}.${namespace}.svc`, "localhost"];
}
