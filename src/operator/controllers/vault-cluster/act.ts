// Looks at everything that a VaultCluster depends on, lets decide.ts decide, and carries it out. The two steps that are
// no plain apply are here: the certificate, and reading the boundary back from the server.
import { ApiError } from "#client/api-error.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonObject } from "#common/json.ts";
import { type ControllerSource, createController } from "#kube/controller.ts";
import { type KubeObject, keyOf } from "#kube/kube-object.ts";
import type { Reflector } from "#kube/reflector.ts";
import { resourceKind } from "../../api/resource.ts";
import { runsEtcd, storageTypeOf, type VaultCluster, vaultCluster } from "../../api/vault-cluster.ts";
import {
  BOUNDARY_POLICY,
  CLUSTER_LABEL,
  isPodOf,
  ownerReference,
  titleOf,
  tlsSecretName,
} from "../../cluster-names.ts";
import type { MemberProbe } from "../../servers/probe.ts";
import { managesNamespace } from "../../settings.ts";
import { neededSecret } from "../../unseal-secret.ts";
import type { ControllerParts, ControllerType } from "../controller-type.ts";
import { readSecretFacts } from "../secret-facts.ts";
import { boundaryPolicy } from "./bootstrap.ts";
import { ensureCertificate } from "./certificates.ts";
import { type BoundaryState, decide, type EtcdSeen, FINALIZER, type Observed, removalsOf } from "./decide.ts";
import { type EtcdState, lookAtEtcd } from "./etcd/act-etcd.ts";
import { etcdName } from "./etcd/etcd-names.ts";
import { objectsIn, type PodFacts, podFacts } from "./pod-facts.ts";
import { rolloutOf } from "./rollout.ts";
import { storageSecret } from "./server-storage.ts";
import { growVolumes } from "./volumes.ts";

const KIND = resourceKind(vaultCluster);
const NAME = "vault-cluster";

export const vaultClusterController: ControllerType = {
  name: NAME,
  create(parts) {
    const { clock, log, metrics } = parts;
    const reconcile = (key: string, signal: AbortSignal) => reconcileCluster(parts, key, signal);
    return createController({ name: NAME, sources: sourcesOf(parts), reconcile, clock, log, metrics });
  },
};

function sourcesOf(parts: ControllerParts): readonly ControllerSource[] {
  const { watches } = parts;
  const from = (reflectors: readonly Reflector[], keys: (object: KubeObject) => readonly string[]) =>
    reflectors.map((reflector): ControllerSource => ({ reflector, keysOf: ({ object }) => keys(object) }));
  const ownKey = ({ metadata }: KubeObject) => {
    const name = metadata.labels?.[CLUSTER_LABEL];
    return name === undefined ? [] : [keyOf({ namespace: metadata.namespace, name })];
  };
  const users = (namespace: string | undefined, uses: (cluster: VaultCluster) => boolean) =>
    watches.clusters.list(namespace).filter(uses).map(titleOf);
  const children = [watches.pods, watches.statefulSets, watches.deployments, ...watches.children].flatMap(
    ({ reflectors }) => reflectors,
  );
  return [
    { reflector: watches.clusters.reflector },
    ...from([watches.unsealConfigs.reflector], ({ metadata }) =>
      users(metadata.namespace, ({ spec }) => spec.unsealConfigRef.name === metadata.name),
    ),
    ...from(watches.secrets.reflectors, ({ metadata }) =>
      users(metadata.namespace, (cluster) => usesSecret(parts, cluster, metadata.name)),
    ),
    ...from(children, ownKey),
  ];
}

function usesSecret({ watches }: ControllerParts, cluster: VaultCluster, name: string): boolean {
  if (tlsSecretName(cluster) === name || storageSecret(cluster)?.name === name) return true;
  const unseal = watches.unsealConfigs.get(unsealKey(cluster));
  return unseal !== undefined && neededSecret(unseal)?.name === name;
}

function unsealKey({ metadata, spec }: VaultCluster): string {
  return keyOf({ namespace: metadata.namespace, name: spec.unsealConfigRef.name });
}

async function reconcileCluster(parts: ControllerParts, key: string, signal: AbortSignal) {
  const { watches, applier } = parts;
  const cluster = watches.clusters.get(key);
  const object = watches.clusters.reflector.get(key);
  if (cluster === undefined || object === undefined) return undefined;
  const subject = { kind: KIND, object };
  if (cluster.metadata.deletionTimestamp !== undefined) {
    if (!managesNamespace(parts.settings, cluster.metadata.namespace)) return undefined;
    for (const removal of removalsOf(cluster)) await applier.remove(removal, signal);
    await applier.setFinalizer(subject, FINALIZER, false, signal);
    return undefined;
  }
  // Another operator's: it is told that nobody manages it only while nobody has looked at it.
  if (!managesNamespace(parts.settings, cluster.metadata.namespace) && cluster.status !== undefined) return undefined;
  const observed = await observe(parts, cluster, signal);
  // Before the first object that no owner takes with it.
  if (observed.isManaged) await applier.setFinalizer(subject, FINALIZER, true, signal);
  const decision = decide(observed);
  await applier.carryOut(subject, decision, signal);
  if (decision.objects.length > 0) await observed.etcd?.step(signal);
  return { requeueAfterMillis: decision.requeueAfterMillis };
}

/** What decisions are made of, and the way to take etcd's step. */
interface Seen extends Observed {
  readonly etcd: (EtcdSeen & Pick<EtcdState, "step">) | undefined;
}

async function observe(parts: ControllerParts, cluster: VaultCluster, signal: AbortSignal): Promise<Seen> {
  const { watches, client, settings, clock } = parts;
  const { namespace, name, generation } = cluster.metadata;
  const isManaged = managesNamespace(settings, namespace);
  const unseal = isManaged ? watches.unsealConfigs.get(unsealKey(cluster)) : undefined;
  const needed = unseal && neededSecret(unseal);
  const secret = needed && (await readSecretFacts(client, { namespace, name: needed.name }, signal));
  const owner = ownerReference("VaultCluster", cluster.metadata, true);
  const wantsCertificate = isManaged && (!cluster.spec.suspend || cluster.spec.tls.secretRef !== undefined);
  const pods = podsOf(parts, cluster);
  const probes = isManaged ? await parts.servers.probe(cluster, signal) : [];
  const members = probes.filter(({ pod }) => pods.some(({ name }) => name === pod));
  const needs = isManaged ? storageSecret(cluster) : undefined;
  const isEmbedded = storageTypeOf(cluster.spec) === "embedded";
  const workload = (isEmbedded ? watches.statefulSets : watches.deployments).get(keyOf({ namespace, name }));
  const isWorkedOn = isManaged && !cluster.spec.suspend;
  const etcdSet = watches.statefulSets.get(keyOf({ namespace, name: etcdName(cluster) }));
  // A new cluster that lacks its UnsealConfig gets no etcd; one that has etcd has its data looked after all the same.
  const hasEtcd = isWorkedOn && (unseal !== undefined || etcdSet !== undefined);
  const etcd = hasEtcd ? await lookAtEtcd(parts, cluster, owner, signal) : undefined;
  return {
    ...{ cluster, isManaged, unseal, secret, members, settings },
    certificate: wantsCertificate ? await ensureCertificate(parts, cluster, owner, signal) : undefined,
    templateSize: isEmbedded ? templateSizeOf(workload) : undefined,
    storageSecret: needs && (await readSecretFacts(client, { namespace, name: needs.name }, signal)),
    etcd: etcd && { ...etcd, templateSize: templateSizeOf(etcdSet) },
    rollout: rolloutOf(workload),
    volumes: isWorkedOn ? await volumesOf(parts, cluster, signal) : undefined,
    pods,
    boundary: await boundaryOf(parts, cluster, members, signal),
    look: { now: clock.now(), generation },
  };
}

/** The server pods. Those of a Deployment that are on their way out are nobody's any more. */
function podsOf({ watches }: ControllerParts, cluster: VaultCluster): readonly PodFacts[] {
  const isEmbedded = storageTypeOf(cluster.spec) === "embedded";
  return watches.pods
    .list(cluster.metadata.namespace)
    .filter(({ metadata }) => isPodOf(cluster, metadata))
    .filter(({ metadata }) => isEmbedded || metadata.deletionTimestamp === undefined)
    .map(podFacts)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Volumes of the servers, or of their etcd members. */
function volumesOf({ client, watches }: ControllerParts, cluster: VaultCluster, signal: AbortSignal) {
  const { namespace, name } = cluster.metadata;
  const component = runsEtcd(cluster) ? "etcd" : "server";
  const set = component === "etcd" ? etcdName(cluster) : name;
  const templateSize = templateSizeOf(watches.statefulSets.get(keyOf({ namespace, name: set })));
  return growVolumes(client, cluster, { component, templateSize }, signal);
}

function templateSizeOf(set: KubeObject | undefined): string | undefined {
  const spec = isJsonObject(set?.["spec"]) ? set["spec"] : {};
  const [template] = objectsIn(spec["volumeClaimTemplates"]);
  const claim = isJsonObject(template?.["spec"]) ? template["spec"] : {};
  const resources = isJsonObject(claim["resources"]) ? claim["resources"] : {};
  const requests = isJsonObject(resources["requests"]) ? resources["requests"] : {};
  const size = requests["storage"];
  return typeof size === "string" ? size : undefined;
}

async function boundaryOf(
  { servers }: ControllerParts,
  cluster: VaultCluster,
  members: readonly MemberProbe[],
  signal: AbortSignal,
): Promise<BoundaryState> {
  const serves = members.some(({ answer }) => answer.kind === "answered" && answer.initialized && !answer.sealed);
  if (!serves) return { kind: "unknown" };
  try {
    const path = `sys/policies/acl/${BOUNDARY_POLICY}`;
    const { data } = await servers.withSession(cluster, signal, (client) => client.read(path, { signal }));
    return { kind: data?.["policy"] === boundaryPolicy(cluster) ? "same" : "different" };
  } catch (error) {
    if (error instanceof CofferError && error.code === "unavailable") return { kind: "unknown" };
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 0 || error.status >= 500) return { kind: "unknown" };
    const message = `the operator cannot log in to the server or read its boundary (${error.message}): was the storage initialised by another operator?`;
    return { kind: "failed", message };
  }
}
