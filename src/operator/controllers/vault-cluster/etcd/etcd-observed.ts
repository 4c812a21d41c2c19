// What is seen of the etcd cluster of a VaultCluster at one look, and what follows from it about a single member. Pure.
import type { VaultCluster } from "../../../api/vault-cluster.ts";
import type { EtcdMember, EtcdStatus } from "./etcd-api.ts";
import { ordinalOf } from "./etcd-names.ts";
import type { Phase } from "./member-config.ts";

/** A member's pod, as far as it matters here. */
export interface EtcdPod {
  readonly name: string;
  /** Why it does not run, in the kubelet's or the scheduler's words. */
  readonly trouble: string | undefined;
  /** It has ended, for whatever reason, and does not run. */
  readonly hasEnded: boolean;
  /** It ended because its disk holds no data where there should be some. */
  readonly lostData: boolean;
  /** It runs what the StatefulSet says now. */
  readonly isCurrent: boolean;
  readonly isReady: boolean;
  readonly answer: EtcdStatus | undefined;
  /** Why there is none. */
  readonly silence: string | undefined;
}

export interface EtcdObserved {
  readonly cluster: VaultCluster;
  /** As the ConfigMap has them; undefined while there is none. */
  readonly phases: ReadonlyMap<string, Phase> | undefined;
  /** Whether there are volumes of members, of this cluster or of one of the same name before it. */
  readonly hasVolumes: boolean;
  readonly pods: readonly EtcdPod[];
  /** What the members say of themselves; undefined while no majority works. */
  readonly members: readonly EtcdMember[] | undefined;
}

/** Its own name, or before it has started the one that its address tells. */
export function nameOf(cluster: VaultCluster, { name, peerURLs }: EtcdMember): string | undefined {
  if (name !== "") return name;
  const host = URL.parse(peerURLs[0] ?? "")?.hostname.split(".")[0];
  return host !== undefined && ordinalOf(cluster, host) !== undefined ? host : undefined;
}

/** A member's pod answers, knows a leader, and is who the list says. */
export function isWorking({ cluster, pods }: Pick<EtcdObserved, "cluster" | "pods">, member: EtcdMember): boolean {
  const answer = pods.find(({ name }) => name === nameOf(cluster, member))?.answer;
  return answer !== undefined && answer.leader !== "0" && answer.header.member_id === member.ID;
}

/** It leads, by its own word. */
export function isLeader({ answer }: EtcdPod): boolean {
  return answer !== undefined && answer.leader === answer.header.member_id;
}
