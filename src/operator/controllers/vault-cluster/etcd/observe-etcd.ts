// Looks at the etcd members of a VaultCluster: their pods, their configuration, and what they say of themselves.
import { messageOf } from "#common/errors.ts";
import { isJsonObject } from "#common/json.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import { type KubeObject, keyOf } from "#kube/kube-object.ts";
import { CONFIG_MAP, PERSISTENT_VOLUME_CLAIM } from "#kube/resource-kinds.ts";
import type { VaultCluster } from "../../../api/vault-cluster.ts";
import { isPodOf, selectorLabels } from "../../../cluster-names.ts";
import type { Watches } from "../../../watches.ts";
import { endingOf, isReady, podAddress, podFacts, statusOf, textOf } from "../pod-facts.ts";
import { createEtcdApi, type EtcdApi, type EtcdMember, type EtcdStatus, type EtcdTrust } from "./etcd-api.ts";
import { CLIENT_PORT, etcdConfigName, etcdName, memberHost } from "./etcd-names.ts";
import type { EtcdObserved, EtcdPod } from "./etcd-observed.ts";
import { DATA_LOST, readPhases } from "./member-config.ts";

export interface EtcdParts {
  readonly client: KubeClient;
  readonly watches: Pick<Watches, "pods" | "statefulSets">;
}

/** Calls a member by the name of its pod. */
export type EtcdCaller = (pod: string) => EtcdApi | undefined;

export interface EtcdLook {
  readonly observed: EtcdObserved;
  readonly callerOf: EtcdCaller;
}

export async function observeEtcd(
  { client, watches }: EtcdParts,
  cluster: VaultCluster,
  trust: EtcdTrust,
  signal: AbortSignal,
): Promise<EtcdLook> {
  const { namespace } = cluster.metadata;
  const pods = watches.pods
    .list(namespace)
    .filter(({ metadata }) => isPodOf(cluster, metadata, "etcd") && metadata.deletionTimestamp === undefined)
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const callerOf: EtcdCaller = (name) => {
    const host = pods.filter(({ metadata }) => metadata.name === name).map(podAddress)[0];
    if (host === undefined) return undefined;
    return createEtcdApi({ host, port: CLIENT_PORT, serverName: memberHost(cluster, name) }, trust, signal);
  };
  const revision = revisionOf(watches.statefulSets.get(keyOf({ namespace, name: etcdName(cluster) })));
  const seen = await Promise.all(pods.map((pod) => look(pod, revision, callerOf(pod.metadata.name))));
  const config = await client.get(CONFIG_MAP, { namespace, name: etcdConfigName(cluster) }, { signal });
  const phases = config && readPhases(isJsonObject(config["data"]) ? config["data"] : {});
  const observed = {
    ...{ cluster, pods: seen, members: await membersOf(seen, callerOf) },
    phases: phases?.size === 0 ? undefined : phases,
    hasVolumes: config === undefined && (await hasVolumes(client, cluster, signal)),
  };
  return { observed, callerOf };
}

async function look(pod: KubeObject, revision: string | undefined, api: EtcdApi | undefined): Promise<EtcdPod> {
  const { answer, silence } = await ask(api);
  const { name, trouble } = podFacts(pod);
  const ending = endingOf(pod);
  const own = pod.metadata.labels?.["controller-revision-hash"];
  return {
    ...{ name, trouble, answer, silence },
    ...{ hasEnded: ending !== undefined, lostData: DATA_LOST.test(ending ?? "") },
    isCurrent: revision === undefined || own === revision,
    isReady: isReady(pod),
  };
}

async function ask(api: EtcdApi | undefined): Promise<{ answer: EtcdStatus | undefined; silence: string | undefined }> {
  if (api === undefined) return { answer: undefined, silence: "the pod has no address yet" };
  try {
    return { answer: await api.status(), silence: undefined };
  } catch (error) {
    return { answer: undefined, silence: messageOf(error) };
  }
}

/** From a member with a vote and a leader: another one may know of an older list. */
async function membersOf(pods: readonly EtcdPod[], callerOf: EtcdCaller): Promise<readonly EtcdMember[] | undefined> {
  for (const { name, answer } of pods) {
    if (answer === undefined || answer.isLearner || answer.leader === "0") continue;
    try {
      return await callerOf(name)?.members();
    } catch {
      // The next one is asked; what is wrong with this one is in its own answer.
    }
  }
  return undefined;
}

/** What pods are made from now; undefined while Kubernetes has not looked at the newest template. */
function revisionOf(set: KubeObject | undefined): string | undefined {
  const status = statusOf(set);
  if (set === undefined || status["observedGeneration"] !== set.metadata.generation) return undefined;
  return textOf(status["updateRevision"]) || undefined;
}

async function hasVolumes(client: KubeClient, cluster: VaultCluster, signal: AbortSignal): Promise<boolean> {
  const labelSelector = Object.entries(selectorLabels(cluster, "etcd"))
    .map(([name, value]) => `${name}=${value}`)
    .join(",");
  const { namespace } = cluster.metadata;
  const { items } = await client.list(PERSISTENT_VOLUME_CLAIM, { namespace, labelSelector, signal });
  return items.length > 0;
}
