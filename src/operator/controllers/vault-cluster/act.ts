// Looks at everything that a VaultCluster depends on, lets decide.ts decide, and carries it out. The two steps that are
// no plain apply are here: the certificate, and reading the boundary back from the server.
import { ApiError } from "#client/api-error.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { type ControllerSource, createController } from "#kube/controller.ts";
import { type KubeObject, keyOf } from "#kube/kube-object.ts";
import type { Reflector } from "#kube/reflector.ts";
import { resourceKind } from "../../api/resource.ts";
import { type VaultCluster, vaultCluster } from "../../api/vault-cluster.ts";
import { BOUNDARY_POLICY, CLUSTER_LABEL, ownerReference, titleOf, tlsSecretName } from "../../cluster-names.ts";
import type { MemberProbe } from "../../servers/probe.ts";
import { managesNamespace } from "../../settings.ts";
import { neededSecret } from "../../unseal-secret.ts";
import type { ControllerParts, ControllerType } from "../controller-type.ts";
import { readSecretFacts } from "../secret-facts.ts";
import { boundaryPolicy } from "./bootstrap.ts";
import { ensureCertificate } from "./certificates.ts";
import { type BoundaryState, decide, FINALIZER, type Observed, type PodFacts, removalsOf } from "./decide.ts";

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
  const children = [watches.pods, watches.statefulSets, ...watches.children].flatMap(({ reflectors }) => reflectors);
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
  if (tlsSecretName(cluster) === name) return true;
  const unseal = watches.unsealConfigs.get(unsealKey(cluster));
  return unseal !== undefined && neededSecret(unseal)?.name === name;
}

function unsealKey({ metadata, spec }: VaultCluster): string {
  return keyOf({ namespace: metadata.namespace, name: spec.unsealConfigRef.name });
}

async function reconcileCluster(parts: ControllerParts, key: string, signal: AbortSignal) {
  const { watches, applier, client } = parts;
  const cluster = watches.clusters.get(key);
  const object = watches.clusters.reflector.get(key);
  if (cluster === undefined || object === undefined) return undefined;
  const subject = { kind: KIND, object };
  if (cluster.metadata.deletionTimestamp !== undefined) {
    if (!managesNamespace(parts.settings, cluster.metadata.namespace)) return undefined;
    for (const { kind, ref } of removalsOf(cluster)) await client.delete(kind, ref, { signal });
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
  return { requeueAfterMillis: decision.requeueAfterMillis };
}

async function observe(parts: ControllerParts, cluster: VaultCluster, signal: AbortSignal): Promise<Observed> {
  const { watches, client, settings, clock } = parts;
  const { namespace, name, generation } = cluster.metadata;
  const isManaged = managesNamespace(settings, namespace);
  const unseal = isManaged ? watches.unsealConfigs.get(unsealKey(cluster)) : undefined;
  const needed = unseal && neededSecret(unseal);
  const secret = needed && (await readSecretFacts(client, { namespace, name: needed.name }, signal));
  const owner = ownerReference("VaultCluster", cluster.metadata, true);
  const wantsCertificate = isManaged && (!cluster.spec.suspend || cluster.spec.tls.secretRef !== undefined);
  const members = isManaged ? await parts.servers.probe(cluster, signal) : [];
  return {
    ...{ cluster, isManaged, unseal, secret, members, settings },
    certificate: wantsCertificate ? await ensureCertificate(parts, cluster, owner, signal) : undefined,
    templateSize: templateSizeOf(watches.statefulSets.get(keyOf({ namespace, name }))),
    pods: podsOf(parts, cluster),
    boundary: await boundaryOf(parts, cluster, members, signal),
    look: { now: clock.now(), generation },
  };
}

function podsOf({ watches }: ControllerParts, { metadata }: VaultCluster): readonly PodFacts[] {
  return watches.pods
    .list(metadata.namespace)
    .filter((pod) => pod.metadata.labels?.[CLUSTER_LABEL] === metadata.name)
    .map((pod) => ({ name: pod.metadata.name, ...troubleOf(pod) }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Waiting reasons that every pod passes through. */
const ORDINARY = new Set(["ContainerCreating", "PodInitializing"]);

function troubleOf(pod: KubeObject): Pick<PodFacts, "trouble" | "isFailing"> {
  const status = isJsonObject(pod["status"]) ? pod["status"] : {};
  for (const container of objectsIn(status["containerStatuses"])) {
    const state = isJsonObject(container["state"]) ? container["state"] : {};
    const waiting = isJsonObject(state["waiting"]) ? state["waiting"] : {};
    const reason = waiting["reason"];
    if (typeof reason === "string" && !ORDINARY.has(reason))
      return { trouble: `${reason}: ${textOf(waiting["message"])}${lastWords(container)}`, isFailing: true };
  }
  const unscheduled = objectsIn(status["conditions"]).find(
    (one) => one["type"] === "PodScheduled" && one["status"] === "False" && one["reason"] === "Unschedulable",
  );
  const trouble = unscheduled && `the pod cannot be scheduled: ${textOf(unscheduled["message"])}`;
  return { trouble, isFailing: false };
}

/** How the container ended the last time, for crash loops. */
function lastWords(container: JsonObject): string {
  const last = isJsonObject(container["lastState"]) ? container["lastState"]["terminated"] : undefined;
  if (!isJsonObject(last)) return "";
  const code = last["exitCode"];
  return typeof code === "number" ? ` (ended with code ${code}; see the pod's log)` : "";
}

function objectsIn(value: JsonValue | undefined): readonly JsonObject[] {
  return value !== undefined && isJsonArray(value) ? value.filter(isJsonObject) : [];
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
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
