// The Kubernetes objects of an etcd cluster: names for members, an address for clients, the members' configuration, their
// pods and volumes, what limits disruption. Pods satisfy the Pod Security Standard "restricted".
import { createHash } from "node:crypto";
import type { JsonObject } from "#common/json.ts";
import { CONFIG_MAP, POD_DISRUPTION_BUDGET, SERVICE, SERVICE_ACCOUNT, STATEFUL_SET } from "#kube/resource-kinds.ts";
import type { VaultCluster } from "../../../api/vault-cluster.ts";
import { objectLabels, selectorLabels } from "../../../cluster-names.ts";
import type { OperatorSettings } from "../../../settings.ts";
import type { DesiredObject } from "../../decision.ts";
import { placement } from "../placement.ts";
import type { EtcdPlan } from "./decide-etcd.ts";
import {
  CLIENT_PORT,
  etcdClientName,
  etcdConfigName,
  etcdName,
  etcdTlsName,
  METRICS_PORT,
  PEER_PORT,
} from "./etcd-names.ts";
import { CONFIG_DIRECTORY, configFileName, DATA_DIRECTORY, memberConfig, TLS_DIRECTORY } from "./member-config.ts";
import { quotaBytes } from "./quota.ts";

export interface EtcdInputs {
  readonly cluster: VaultCluster;
  readonly plan: EtcdPlan;
  readonly image: string;
  readonly settings: Pick<OperatorSettings, "imagePullPolicy" | "imagePullSecrets" | "namespace">;
  /** PEM; members read it only when they start. */
  readonly caBundle: string;
  /** Size in the StatefulSet as it is, which Kubernetes does not let change. */
  readonly templateSize: string | undefined;
  readonly owner: JsonObject;
}

/** As the server's image has it; etcd needs no user of its own. */
const USER_ID = 65_532;
/** etcd hands its leadership over and ends in a moment. */
const GRACE_SECONDS = 30;
/** Half an hour for 8 GiB is slower than any disk that etcd could be served from. */
const START_SECONDS_MAX = 1800;
const DATA_VOLUME = "data";

/** The volume of a member's pod. */
export function claimName(member: string): string {
  return `${DATA_VOLUME}-${member}`;
}

export function etcdObjects(inputs: EtcdInputs): readonly DesiredObject[] {
  const { cluster, owner } = inputs;
  const { namespace } = cluster.metadata;
  const meta = (name: string): JsonObject => ({
    ...{ name, namespace, labels: objectLabels(cluster, "etcd"), ownerReferences: [owner] },
  });
  const selector = selectorLabels(cluster, "etcd");
  const port = (name: string, number: number) => ({ name, port: number, targetPort: number, protocol: "TCP" });
  const client = port("https-client", CLIENT_PORT);
  const service = (name: string, more: JsonObject) => ({
    ...{ kind: SERVICE, object: { metadata: meta(name), spec: { selector, ...more } } },
  });
  const budget = { maxUnavailable: 1, unhealthyPodEvictionPolicy: "AlwaysAllow", selector: { matchLabels: selector } };
  return [
    { kind: SERVICE_ACCOUNT, object: { metadata: meta(etcdName(cluster)), automountServiceAccountToken: false } },
    { kind: CONFIG_MAP, object: { metadata: meta(etcdConfigName(cluster)), data: configFiles(inputs) } },
    // Members need names before they are ready, to get ready.
    service(etcdName(cluster), {
      ...{ clusterIP: "None", publishNotReadyAddresses: true },
      ports: [client, port("https-peer", PEER_PORT), port("http-metrics", METRICS_PORT)],
    }),
    service(etcdClientName(cluster), { type: "ClusterIP", ports: [client] }),
    { kind: POD_DISRUPTION_BUDGET, object: { metadata: meta(etcdName(cluster)), spec: budget } },
    { kind: STATEFUL_SET, object: { metadata: meta(etcdName(cluster)), spec: statefulSetSpec(inputs) } },
  ];
}

function configFiles({ cluster, plan: { phases } }: EtcdInputs): JsonObject {
  const founders = [...phases.values()].filter(({ kind }) => kind === "new").length;
  const files = [...phases].map(([member, phase]) => {
    const config = memberConfig({ cluster, member, phase, founders, quotaBytes: quotaBytes(cluster) });
    return [configFileName(member), `${JSON.stringify(config, null, 2)}\n`];
  });
  return Object.fromEntries(files);
}

function statefulSetSpec(inputs: EtcdInputs): JsonObject {
  const { cluster, plan, templateSize } = inputs;
  const { storage, deletionPolicy } = cluster.spec;
  const claim = {
    accessModes: ["ReadWriteOnce"],
    ...(storage.storageClassName === undefined ? {} : { storageClassName: storage.storageClassName }),
    resources: { requests: { storage: templateSize ?? storage.size } },
  };
  const labels = selectorLabels(cluster, "etcd");
  return {
    replicas: plan.replicas,
    serviceName: etcdName(cluster),
    podManagementPolicy: "Parallel",
    // The operator makes pods anew, one at a time and the leader last: a StatefulSet knows nothing of a majority.
    updateStrategy: { type: "OnDelete" },
    // What a member leaves behind when it is taken out is of no use: it can never come back under its old number.
    persistentVolumeClaimRetentionPolicy: { whenDeleted: deletionPolicy, whenScaled: "Delete" },
    selector: { matchLabels: labels },
    template: podTemplate(inputs),
    volumeClaimTemplates: [
      {
        ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", spec: claim },
        metadata: { name: DATA_VOLUME, labels },
      },
    ],
  };
}

function podTemplate({ cluster, image, settings, caBundle }: EtcdInputs): JsonObject {
  const { namespace } = cluster.metadata;
  const pullSecrets = namespace === settings.namespace ? settings.imagePullSecrets : [];
  const hash = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 32);
  return {
    metadata: {
      labels: objectLabels(cluster, "etcd"),
      // What a running member does not notice.
      annotations: { "coffer.dev/ca-hash": hash(caBundle), "coffer.dev/quota": String(quotaBytes(cluster)) },
    },
    spec: {
      ...{ serviceAccountName: etcdName(cluster), automountServiceAccountToken: false },
      ...{ terminationGracePeriodSeconds: GRACE_SECONDS, enableServiceLinks: false },
      ...(pullSecrets.length === 0 ? {} : { imagePullSecrets: pullSecrets.map((name) => ({ name })) }),
      securityContext: {
        ...{ runAsNonRoot: true, runAsUser: USER_ID, runAsGroup: USER_ID, fsGroup: USER_ID },
        ...{ fsGroupChangePolicy: "OnRootMismatch", seccompProfile: { type: "RuntimeDefault" } },
      },
      ...placement(cluster, "etcd", true),
      containers: [container(cluster, image, settings)],
      volumes: [
        { name: "config", configMap: { name: etcdConfigName(cluster) } },
        { name: "tls", secret: { secretName: etcdTlsName(cluster) } },
      ],
    },
  };
}

function container(cluster: VaultCluster, image: string, settings: EtcdInputs["settings"]): JsonObject {
  const { requests, limits } = cluster.spec.storage.etcd.resources;
  return {
    name: "etcd",
    image,
    imagePullPolicy: settings.imagePullPolicy,
    command: ["etcd", `--config-file=${CONFIG_DIRECTORY}/${configFileName("$(POD_NAME)")}`],
    env: [{ name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
    ports: [
      { name: "https-client", containerPort: CLIENT_PORT, protocol: "TCP" },
      { name: "https-peer", containerPort: PEER_PORT, protocol: "TCP" },
      { name: "http-metrics", containerPort: METRICS_PORT, protocol: "TCP" },
    ],
    // The port opens when the log has been read, which takes its time with gigabytes on a slow disk.
    startupProbe: { tcpSocket: { port: "http-metrics" }, periodSeconds: 1, failureThreshold: START_SECONDS_MAX },
    // A member without a majority is alive: killing it would not bring the others back.
    livenessProbe: {
      ...{ tcpSocket: { port: "http-metrics" }, periodSeconds: 10, failureThreshold: 6 },
    },
    readinessProbe: {
      ...{
        httpGet: { path: "/health", port: "http-metrics" },
        periodSeconds: 2,
        failureThreshold: 3,
        timeoutSeconds: 3,
      },
    },
    resources: { ...(requests === undefined ? {} : { requests }), ...(limits === undefined ? {} : { limits }) },
    // Its last lines say whether its disk was lost.
    terminationMessagePolicy: "FallbackToLogsOnError",
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
    volumeMounts: [
      { name: "config", mountPath: CONFIG_DIRECTORY, readOnly: true },
      { name: "tls", mountPath: TLS_DIRECTORY, readOnly: true },
      { name: DATA_VOLUME, mountPath: DATA_DIRECTORY },
    ],
  };
}
