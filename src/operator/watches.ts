// The operator's view of the cluster: one reflector per kind, shared by the controllers. Objects of clusters are watched
// only in the namespaces where VaultClusters may live, and of Secrets only the metadata: contents are read when needed.
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import type { KubeObject, ResourceKind } from "#kube/kube-object.ts";
import { createReflector, type Reflector, type ReflectorOptions } from "#kube/reflector.ts";
import {
  CONFIG_MAP,
  DEPLOYMENT,
  NAMESPACE,
  POD,
  POD_DISRUPTION_BUDGET,
  SECRET,
  SERVICE,
  SERVICE_ACCOUNT,
  STATEFUL_SET,
} from "#kube/resource-kinds.ts";
import { type Definition, type Resource, readResource, resourceKind } from "./api/resource.ts";
import { type SecretBinding, secretBinding } from "./api/secret-binding.ts";
import { type UnsealConfig, unsealConfig } from "./api/unseal-config.ts";
import { type VaultCluster, vaultCluster } from "./api/vault-cluster.ts";
import { CLUSTER_LABEL, KEPT_LABEL } from "./cluster-names.ts";
import type { OperatorSettings } from "./settings.ts";

/** Objects of one kind in the watched namespaces. */
export interface Watch {
  readonly kind: ResourceKind;
  readonly reflectors: readonly Reflector[];
  get(key: string): KubeObject | undefined;
  list(namespace?: string): readonly KubeObject[];
}

/** Custom resources as they are typed. */
export interface ResourceWatch<R> {
  readonly reflector: Reflector;
  /** Undefined when there is none, or when it cannot be read, which is logged. */
  get(key: string): R | undefined;
  list(namespace?: string): readonly R[];
}

export interface Watches {
  readonly clusters: ResourceWatch<VaultCluster>;
  readonly unsealConfigs: ResourceWatch<UnsealConfig>;
  readonly bindings: ResourceWatch<SecretBinding>;
  readonly namespaces: Reflector;
  readonly pods: Watch;
  readonly statefulSets: Watch;
  readonly deployments: Watch;
  /** Metadata only. */
  readonly secrets: Watch;
  /** Kubernetes Secrets that SecretBindings keep, metadata only, by their label. */
  readonly kept: Watch;
  /** Of other objects of clusters, metadata only: to see that somebody changed them. */
  readonly children: readonly Watch[];
  isSynced(): boolean;
  /** The longest silence of the API server among all watches. */
  silentMillis(): Millis;
  run(signal: AbortSignal): Promise<void>;
}

/** What was missed or undone elsewhere is looked at again this often. */
const RESYNC_MILLIS: Millis = 10 * 60_000;

export function createWatches(options: {
  client: KubeClient;
  settings: Pick<OperatorSettings, "clusterNamespaces" | "secretNamespaces">;
  clock: Clock;
  log: Log;
}): Watches {
  const { client, clock, log, settings } = options;
  const open = (kind: ResourceKind, more: Partial<ReflectorOptions> = {}) =>
    createReflector({ client, kind, clock, log, ...more });
  const namespaces = settings.clusterNamespaces.includes("*") ? [undefined] : settings.clusterNamespaces;
  const within = (kind: ResourceKind, more: Partial<ReflectorOptions>) =>
    watchOf(
      kind,
      namespaces.map((namespace) => open(kind, { ...more, namespace })),
    );
  const keeping = settings.secretNamespaces.includes("*") ? [undefined] : settings.secretNamespaces;
  const ours = { labelSelector: CLUSTER_LABEL };
  const custom = <S, T>(definition: Definition<S, T>) =>
    typed(definition, open(resourceKind(definition), { resyncMillis: RESYNC_MILLIS }), log);
  const watches = {
    clusters: custom(vaultCluster),
    unsealConfigs: custom(unsealConfig),
    bindings: custom(secretBinding),
    namespaces: open(NAMESPACE, { metadataOnly: true }),
    pods: within(POD, ours),
    statefulSets: within(STATEFUL_SET, ours),
    deployments: within(DEPLOYMENT, ours),
    secrets: within(SECRET, { metadataOnly: true }),
    kept: watchOf(
      SECRET,
      keeping.map((namespace) => open(SECRET, { namespace, labelSelector: KEPT_LABEL, metadataOnly: true })),
    ),
    children: [CONFIG_MAP, SERVICE, SERVICE_ACCOUNT, POD_DISRUPTION_BUDGET].map((kind) =>
      within(kind, { ...ours, metadataOnly: true }),
    ),
  };
  return { ...watches, ...lifeOf(watches) };
}

function lifeOf(watches: Omit<Watches, "isSynced" | "silentMillis" | "run">) {
  const { clusters, unsealConfigs, bindings, namespaces, pods, statefulSets, deployments, secrets, kept, children } =
    watches;
  const all = [
    ...[clusters, unsealConfigs, bindings].map(({ reflector }) => reflector),
    namespaces,
    ...[pods, statefulSets, deployments, secrets, kept, ...children].flatMap(({ reflectors }) => reflectors),
  ];
  return {
    isSynced: () => all.every((reflector) => reflector.isSynced()),
    silentMillis: () => Math.max(...all.map((reflector) => reflector.silentMillis() ?? 0)),
    async run(signal: AbortSignal) {
      await Promise.all(all.map((reflector) => reflector.run(signal)));
    },
  };
}

function watchOf(kind: ResourceKind, reflectors: readonly Reflector[]): Watch {
  return {
    kind,
    reflectors,
    get: (key) => reflectors.map((reflector) => reflector.get(key)).find((object) => object !== undefined),
    list: (namespace) => reflectors.flatMap((reflector) => reflector.list(namespace)),
  };
}

function typed<S, T>(definition: Definition<S, T>, reflector: Reflector, log: Log): ResourceWatch<Resource<S, T>> {
  // Objects of the cache never change, a newer one takes their place; so each is read once.
  const seen = new WeakMap<KubeObject, readonly Resource<S, T>[]>();
  const read = (object: KubeObject): readonly Resource<S, T>[] => {
    const known = seen.get(object);
    if (known !== undefined) return known;
    const found = readAnew(object);
    seen.set(object, found);
    return found;
  };
  const readAnew = (object: KubeObject): readonly Resource<S, T>[] => {
    try {
      return [readResource(definition, object)];
    } catch (error) {
      const { namespace, name } = object.metadata;
      log.error("an object cannot be read: its definition in the cluster is of another version", {
        ...{ kind: definition.kind, namespace, name },
        error: messageOf(error),
      });
      return [];
    }
  };
  return {
    reflector,
    get(key) {
      const object = reflector.get(key);
      return object && read(object)[0];
    },
    list: (namespace) => reflector.list(namespace).flatMap(read),
  };
}
