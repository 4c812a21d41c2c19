// The pods of a cluster's servers: a StatefulSet with a volume for embedded storage, else a Deployment. They satisfy the Pod Security Standard "restricted" and write nowhere but to
// their volume. Credentials come from the Secret that the UnsealConfig names and are never copied.
import type { JsonObject, JsonValue } from "#common/json.ts";
import { DEPLOYMENT, STATEFUL_SET } from "#kube/resource-kinds.ts";
import type { UnsealConfig } from "../../api/unseal-config.ts";
import { storageTypeOf, type VaultCluster } from "../../api/vault-cluster.ts";
import { internalServiceName, objectLabels, SERVER_PORT, selectorLabels, tlsSecretName } from "../../cluster-names.ts";
import type { OperatorSettings } from "../../settings.ts";
import {
  AWS_CREDENTIAL_KEYS,
  AWS_SESSION_KEY,
  mountedSecret,
  neededSecret,
  type SecretFacts,
} from "../../unseal-secret.ts";
import type { DesiredObject } from "../decision.ts";
import { placement } from "./placement.ts";
import { CONFIG_DIRECTORY, CONFIG_FILE, configHash, TLS_DIRECTORY, UNSEAL_DIRECTORY } from "./server-config.ts";
import { DATA_DIRECTORY, storageAccess } from "./server-storage.ts";

export type WorkloadSettings = Pick<OperatorSettings, "image" | "imagePullPolicy" | "imagePullSecrets" | "namespace">;

export interface WorkloadInputs {
  readonly cluster: VaultCluster;
  readonly unseal: UnsealConfig;
  /** Changes with the contents of the Secret with the credentials. */
  readonly secretVersion: string;
  /** Of the Secret that the storage needs; undefined when it needs none that the spec names. */
  readonly storageSecret: SecretFacts | undefined;
  readonly settings: WorkloadSettings;
  /** Size in the StatefulSet as it is, which Kubernetes does not let change. */
  readonly templateSize: string | undefined;
  readonly owner: JsonObject;
}

/** Distroless "nonroot", as in the image. */
const USER_ID = 65_532;
/** Requests that are under way end, and LMDB closes, in well below this. */
const GRACE_SECONDS = 30;
const DATA_VOLUME = "data";

/** Endpoints forget a pod that ends within a second or two; until then it goes on serving. */
const DRAIN_SECONDS = 5;
/** A server is ready within seconds; one that has not been for so long will not be. */
const PROGRESS_SECONDS = 300;
/** A new pod must have served this long before the next one is replaced. */
const SETTLED_SECONDS = 5;

/** The servers, as their storage lets them be. */
export function workload(inputs: WorkloadInputs): DesiredObject {
  return storageTypeOf(inputs.cluster.spec) === "embedded" ? statefulSet(inputs) : deployment(inputs);
}

/** All pods are alike and hold nothing: a new one serves before an old one goes. */
function deployment(inputs: WorkloadInputs): DesiredObject {
  const { cluster, owner } = inputs;
  const { name, namespace } = cluster.metadata;
  return {
    kind: DEPLOYMENT,
    object: {
      metadata: { name, namespace, labels: objectLabels(cluster), ownerReferences: [owner] },
      spec: {
        replicas: cluster.spec.replicas,
        strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
        minReadySeconds: SETTLED_SECONDS,
        progressDeadlineSeconds: PROGRESS_SECONDS,
        revisionHistoryLimit: 3,
        selector: { matchLabels: selectorLabels(cluster) },
        template: podTemplate(inputs),
      },
    },
  };
}

function statefulSet(inputs: WorkloadInputs): DesiredObject {
  const { cluster, templateSize, owner } = inputs;
  const { metadata, spec } = cluster;
  const whenDeleted = spec.deletionPolicy;
  const claim = {
    metadata: { name: DATA_VOLUME, labels: selectorLabels(cluster) },
    spec: {
      accessModes: ["ReadWriteOnce"],
      ...(spec.storage.storageClassName === undefined ? {} : { storageClassName: spec.storage.storageClassName }),
      resources: { requests: { storage: templateSize ?? spec.storage.size } },
    },
  };
  return {
    kind: STATEFUL_SET,
    object: {
      metadata: {
        name: metadata.name,
        namespace: metadata.namespace,
        labels: objectLabels(cluster),
        ownerReferences: [owner],
      },
      spec: {
        replicas: spec.replicas,
        serviceName: internalServiceName(cluster),
        // In parallel: a pod that waits for its key must not keep a corrected one from starting.
        podManagementPolicy: "Parallel",
        persistentVolumeClaimRetentionPolicy: { whenDeleted, whenScaled: "Retain" },
        selector: { matchLabels: selectorLabels(cluster) },
        template: podTemplate(inputs),
        volumeClaimTemplates: [{ apiVersion: "v1", kind: "PersistentVolumeClaim", ...claim }],
      },
    },
  };
}

function podTemplate(inputs: WorkloadInputs): JsonObject {
  const { cluster, unseal, secretVersion, storageSecret, settings } = inputs;
  const { metadata, spec } = cluster;
  // They are in the operator's namespace only; elsewhere the ServiceAccount of the servers can carry some.
  const pullSecrets = metadata.namespace === settings.namespace ? settings.imagePullSecrets : [];
  return {
    metadata: {
      labels: { ...spec.podTemplate.labels, ...objectLabels(cluster) },
      annotations: {
        ...spec.podTemplate.annotations,
        "coffer.dev/config-hash": configHash(cluster, unseal, storageSecret?.keys ?? []),
        ...(secretVersion === "" ? {} : { "coffer.dev/credentials-version": secretVersion }),
        ...(storageSecret === undefined ? {} : { "coffer.dev/storage-version": storageSecret.version }),
      },
    },
    spec: {
      serviceAccountName: `${metadata.name}-server`,
      terminationGracePeriodSeconds: GRACE_SECONDS,
      enableServiceLinks: false,
      ...(pullSecrets.length === 0 ? {} : { imagePullSecrets: pullSecrets.map((name) => ({ name })) }),
      securityContext: {
        runAsNonRoot: true,
        runAsUser: USER_ID,
        runAsGroup: USER_ID,
        fsGroup: USER_ID,
        fsGroupChangePolicy: "OnRootMismatch",
        seccompProfile: { type: "RuntimeDefault" },
      },
      ...placement(cluster, "server", storageTypeOf(spec) !== "embedded"),
      containers: [container(inputs)],
      volumes: volumes(inputs),
    },
  };
}

function container({ cluster, unseal, settings }: WorkloadInputs): JsonObject {
  const { spec } = cluster;
  const isEmbedded = storageTypeOf(spec) === "embedded";
  const storage = storageAccess(cluster);
  const mount = (name: string, mountPath: string, readOnly = true) => ({
    name,
    mountPath,
    ...(readOnly ? { readOnly } : {}),
  });
  return {
    name: "server",
    image: spec.image ?? settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    args: ["server", `-config=${CONFIG_DIRECTORY}/${CONFIG_FILE}`],
    env: [...credentials(unseal), ...storage.env],
    ports: [{ name: "https", containerPort: SERVER_PORT, protocol: "TCP" }],
    ...probes(),
    ...(isEmbedded ? {} : { lifecycle: { preStop: { sleep: { seconds: DRAIN_SECONDS } } } }),
    resources: resourcesOf(cluster),
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
    volumeMounts: [
      mount("config", CONFIG_DIRECTORY),
      mount("tls", TLS_DIRECTORY),
      ...(isEmbedded ? [mount(DATA_VOLUME, DATA_DIRECTORY, false)] : storage.mounts),
      ...(mountedSecret(unseal) === undefined ? [] : [mount("unseal", UNSEAL_DIRECTORY)]),
    ],
  };
}

function resourcesOf({ spec: { resources } }: VaultCluster): JsonObject {
  const { requests, limits } = resources;
  return { ...(requests === undefined ? {} : { requests }), ...(limits === undefined ? {} : { limits }) };
}

/** Ready means that it serves. A sealed server is alive: killing it would not bring its key back. */
function probes(): JsonObject {
  const get = (path: string) => ({ httpGet: { path, port: "https", scheme: "HTTPS" }, timeoutSeconds: 3 });
  const alive = get("/v1/sys/health?sealedcode=200&uninitcode=200&standbyok=true");
  return {
    startupProbe: { ...alive, periodSeconds: 1, failureThreshold: 60 },
    livenessProbe: { ...alive, periodSeconds: 10, failureThreshold: 6 },
    readinessProbe: { ...get("/v1/sys/health"), periodSeconds: 2, failureThreshold: 2 },
  };
}

function credentials(unseal: UnsealConfig): readonly JsonValue[] {
  const needed = neededSecret(unseal);
  if (needed === undefined || unseal.spec.awsKms === undefined) return [];
  const from = (key: string, optional: boolean) => ({
    name: key,
    valueFrom: { secretKeyRef: { name: needed.name, key, ...(optional ? { optional } : {}) } },
  });
  return [...AWS_CREDENTIAL_KEYS.map((key) => from(key, false)), from(AWS_SESSION_KEY, true)];
}

function volumes({ cluster, unseal }: WorkloadInputs): readonly JsonValue[] {
  const mounted = mountedSecret(unseal);
  const unsealVolume = mounted && {
    name: "unseal",
    secret: { secretName: mounted.name, items: [{ key: mounted.key, path: mounted.key }] },
  };
  return [
    { name: "config", configMap: { name: `${cluster.metadata.name}-config` } },
    { name: "tls", secret: { secretName: tlsSecretName(cluster) } },
    ...storageAccess(cluster).volumes,
    ...(unsealVolume === undefined ? [] : [unsealVolume]),
  ];
}
