// What a VaultCluster comes to: the objects that make it, its status, and when to look again. A chain of named checks,
// the first that finds something decides the summary. Pure.
import type { Millis } from "#common/clock.ts";
import { type Finding, type Look, type Summary, summaryFindings } from "#kube/conditions.ts";
import { CLUSTER_ROLE_BINDING } from "#kube/resource-kinds.ts";
import type { UnsealConfig } from "../../api/unseal-config.ts";
import { runsEtcd, storageTypeOf, type VaultCluster, type VaultClusterStatus } from "../../api/vault-cluster.ts";
import { authDelegatorName, caBundleName, ownerReference, selectorLabels, serverAddress } from "../../cluster-names.ts";
import type { MemberProbe } from "../../servers/probe.ts";
import type { OperatorSettings } from "../../settings.ts";
import { type SecretFacts, secretProblem } from "../../unseal-secret.ts";
import { conclude, type Decision } from "../decision.ts";
import type { CertificateState } from "./certificates.ts";
import type { EtcdPlan } from "./etcd/decide-etcd.ts";
import { etcdObjects } from "./etcd/etcd-objects.ts";
import { type Assessment, assess, membersOf } from "./members.ts";
import { supportingObjects } from "./objects.ts";
import type { PodFacts } from "./pod-facts.ts";
import type { Rollout } from "./rollout.ts";
import { serverConfig } from "./server-config.ts";
import { storageSecret } from "./server-storage.ts";
import { type VolumeState, volumeFinding } from "./volumes.ts";
import { type WorkloadSettings, workload } from "./workload.ts";

/** Of the boundary policy on the server, against the access rules. */
export type BoundaryState =
  | { readonly kind: "unknown" | "same" | "different" }
  | { readonly kind: "failed"; readonly message: string };

export interface Observed {
  readonly cluster: VaultCluster;
  readonly isManaged: boolean;
  readonly unseal: UnsealConfig | undefined;
  /** The Secret that the UnsealConfig names; undefined when there is none. */
  readonly secret: SecretFacts | undefined;
  /** Undefined while it need not be known, because something before it is wrong. */
  readonly certificate: CertificateState | undefined;
  /** Size in the volume template of the StatefulSet, if there is one. */
  readonly templateSize: string | undefined;
  /** The Secret that the storage needs; undefined when there is none. */
  readonly storageSecret: SecretFacts | undefined;
  /** Of the etcd members that the operator runs; undefined when it runs none, or may not look yet. */
  readonly etcd: EtcdSeen | undefined;
  /** Of volumes that are to be larger than they were made; undefined when none is. */
  readonly volumes: VolumeState | undefined;
  /** Undefined while there are no server pods to be made. */
  readonly rollout: Rollout | undefined;
  readonly pods: readonly PodFacts[];
  readonly members: readonly MemberProbe[];
  readonly boundary: BoundaryState;
  readonly settings: WorkloadSettings & Pick<OperatorSettings, "serviceAccount" | "etcdImage">;
  readonly look: Look;
}

export interface EtcdSeen {
  readonly plan: EtcdPlan;
  /** PEM of the authorities of its certificates. */
  readonly caBundle: string;
  /** Size in the volume template of its StatefulSet, if there is one. */
  readonly templateSize: string | undefined;
}

export const FINALIZER = "coffer.dev/vault-cluster";
/** While something is on its way it is looked at this often; pods that change bring it forward. */
const WAITING_MILLIS: Millis = 3000;
const SERVING_MILLIS: Millis = 20_000;
const STALLED_MILLIS: Millis = 60_000;

export function decide(observed: Observed): Decision<VaultClusterStatus> {
  const { cluster, look } = observed;
  const blocked = blockedBy(observed);
  const assessment = blocked === undefined ? assess(observed) : undefined;
  const summary = blocked ??
    etcdSummary(observed) ??
    assessment?.summary ?? { state: "reconciling", reason: "PodsStarting", message: "" };
  const findings = [
    ...summaryFindings(summary),
    ...tlsFinding(observed),
    ...(assessment?.findings ?? []),
    ...(observed.etcd === undefined ? [] : [observed.etcd.plan.finding]),
    ...(observed.volumes === undefined ? [] : [volumeFinding(observed.volumes)]),
    ...rolloutFindings(observed),
  ];
  const { conditions, events } = conclude(cluster.status?.conditions ?? [], look, findings);
  const isHalted = cluster.spec.suspend || blocked !== undefined;
  return {
    objects: isHalted ? membersKept(observed) : objectsOf(observed),
    removals: [],
    status: { ...statusOf(observed, assessment), conditions },
    events,
    requeueAfterMillis: observed.etcd?.plan.isSettled === false ? WAITING_MILLIS : requeueAfter(summary),
  };
}

/** Without a majority of its members servers cannot start, and those that run cannot read. */
function etcdSummary({ etcd }: Observed): Summary | undefined {
  if (etcd === undefined || etcd.plan.isServing) return undefined;
  const { reason, message } = etcd.plan.finding;
  return { state: reason === "EtcdStarting" ? "reconciling" : "failing", reason, message };
}

/** An update that is under way, done, or halted; then Stalled says so although what there is serves. */
function rolloutFindings({ rollout, pods }: Observed): readonly Finding[] {
  if (rollout === undefined) return [];
  const { updated, total, halted } = rollout;
  const failing = pods.find(({ isFailing }) => isFailing);
  const why = failing === undefined ? "" : `; ${failing.name}: ${failing.trouble}`;
  const type = "UpToDate";
  if (halted !== undefined)
    return [
      { type, status: "False", reason: "UpdateHalted", message: `${halted}${why}` },
      { type: "Stalled", status: "True", reason: "UpdateHalted", message: `${halted}${why}` },
    ];
  const message = `${updated} of ${total} server pods are as the spec says${why}`;
  return updated === total
    ? [{ type, status: "True", reason: "Updated", message }]
    : [{ type, status: "False", reason: "UpdateRunning", message }];
}

/** What is to be removed by hand when the cluster goes; the rest goes with its owner. */
export function removalsOf(cluster: VaultCluster): Decision<unknown>["removals"] {
  return [{ kind: CLUSTER_ROLE_BINDING, ref: { name: authDelegatorName(cluster) } }];
}

/** What was seen last stays while nobody looks, as in a cluster that is suspended. */
function etcdStatus({ etcd, cluster }: Observed): Pick<VaultClusterStatus, "etcd"> {
  const seen = etcd?.plan.status ?? (runsEtcd(cluster) ? cluster.status?.etcd : undefined);
  return seen === undefined ? {} : { etcd: seen };
}

function requeueAfter({ state }: Summary): Millis {
  if (state === "ready") return SERVING_MILLIS;
  return state === "stalled" ? STALLED_MILLIS : WAITING_MILLIS;
}

type Check = (observed: Observed) => Summary | undefined;

const stalled = (reason: string, message: string): Summary => ({ state: "stalled", reason, message });

const checkNamespace: Check = ({ isManaged, cluster }) =>
  isManaged
    ? undefined
    : stalled(
        "NamespaceNotManaged",
        `the operator may not run clusters in namespace ${cluster.metadata.namespace}: add it to operator.clusterNamespaces of the chart`,
      );

const checkUnsealConfig: Check = ({ unseal, cluster }) => {
  if (unseal !== undefined) return undefined;
  const where = `${cluster.metadata.namespace}/${cluster.spec.unsealConfigRef.name}`;
  return stalled(
    "UnsealConfigNotFound",
    `there is no UnsealConfig ${where}: create it or correct spec.unsealConfigRef`,
  );
};

const checkSecret: Check = ({ unseal, secret }) => {
  const problem = unseal && secretProblem(unseal, secret);
  return problem === undefined ? undefined : stalled("UnsealConfigInvalid", problem);
};

const checkCertificate: Check = ({ certificate }) =>
  certificate?.kind === "unusable" ? stalled(certificate.reason, certificate.message) : undefined;

const checkStorage: Check = ({ cluster, storageSecret: facts, settings }) => {
  if (runsEtcd(cluster) && (cluster.spec.storage.etcd.image ?? settings.etcdImage) === "")
    return stalled(
      "EtcdImageMissing",
      "set etcd.image of the chart or spec.storage.etcd.image: the operator does not know which image etcd members run",
    );
  const needed = storageSecret(cluster);
  if (needed === undefined) return undefined;
  const where = `${cluster.metadata.namespace}/${needed.name}`;
  const missing = needed.keys.filter((key) => facts?.keys.includes(key) !== true);
  if (facts === undefined)
    return stalled("StorageInvalid", `there is no Secret ${where}, which spec.storage names: create it`);
  return missing.length === 0
    ? undefined
    : stalled("StorageInvalid", `the Secret ${where} lacks ${missing.join(" and ")}, which spec.storage names: add it`);
};

const CHECKS: readonly Check[] = [checkNamespace, checkUnsealConfig, checkSecret, checkCertificate, checkStorage];

/** What keeps the cluster from being made at all. */
function blockedBy(observed: Observed): Summary | undefined {
  for (const check of CHECKS) {
    const found = check(observed);
    if (found !== undefined) return found;
  }
  return undefined;
}

function tlsFinding({ certificate }: Observed): readonly Finding[] {
  if (certificate === undefined) return [];
  if (certificate.kind === "unusable")
    return [{ type: "TLSReady", status: "False", reason: certificate.reason, message: certificate.message }];
  const until = new Date(certificate.notAfter).toISOString();
  const [reason, message] =
    certificate.kind === "issued"
      ? ["CertificateIssued", `the certificate is valid until ${until} and is renewed before`]
      : ["CertificateProvided", `the given certificate is valid until ${until}`];
  return [{ type: "TLSReady", status: "True", reason, message }];
}

function objectsOf(observed: Observed): Decision<unknown>["objects"] {
  const { cluster, unseal, certificate, secret, settings, templateSize, etcd } = observed;
  if (unseal === undefined || certificate === undefined || certificate.kind === "unusable") return [];
  const owner = ownerReference("VaultCluster", cluster.metadata, true);
  const { namespace, serviceAccount } = settings;
  const config = serverConfig(cluster, unseal, { namespace, serviceAccount }, observed.storageSecret?.keys);
  const image = cluster.spec.storage.etcd.image ?? settings.etcdImage;
  // Servers that find no storage end, and wait longer each time before they try again.
  const canServe = etcd === undefined ? !runsEtcd(cluster) : etcd.plan.isServing || observed.rollout !== undefined;
  const inputs = { cluster, unseal, secretVersion: secret?.version ?? "", settings, templateSize, owner };
  return [
    ...supportingObjects({ cluster, config, caBundle: certificate.caBundle, owner }),
    ...(etcd === undefined ? [] : etcdObjects({ cluster, image, settings, owner, ...etcd })),
    ...(canServe ? [workload({ ...inputs, storageSecret: observed.storageSecret })] : []),
  ];
}

/** The data is looked after whatever keeps the servers from being made, unless everything is to be left alone. */
function membersKept({ cluster, isManaged, etcd, settings }: Observed): Decision<unknown>["objects"] {
  const image = cluster.spec.storage.etcd.image ?? settings.etcdImage;
  if (etcd === undefined || cluster.spec.suspend || !isManaged || image === "") return [];
  const owner = ownerReference("VaultCluster", cluster.metadata, true);
  return etcdObjects({ cluster, image, settings, owner, ...etcd });
}

function statusOf(observed: Observed, assessment: Assessment | undefined): Omit<VaultClusterStatus, "conditions"> {
  const { cluster, certificate, look, members, pods } = observed;
  const answers = members.flatMap(({ answer }) => (answer.kind === "answered" ? [answer] : []));
  const version = answers.map((answer) => answer.version).find((one) => one !== undefined) ?? cluster.status?.version;
  const initialized = answers.some((answer) => answer.initialized) || cluster.status?.initialized === true;
  const hasBundle =
    certificate === undefined
      ? cluster.status?.caBundle !== undefined
      : certificate.kind !== "unusable" && certificate.caBundle !== undefined;
  return {
    observedGeneration: look.generation,
    phase: cluster.spec.suspend ? "Suspended" : (assessment?.phase ?? "Pending"),
    address: serverAddress(cluster),
    initialized,
    ...(answers.length === 0 ? {} : { sealed: answers.some((answer) => answer.sealed) }),
    ...(version === undefined ? {} : { version }),
    replicas: pods.length,
    readyReplicas: answers.filter((answer) => answer.initialized && !answer.sealed).length,
    selector: Object.entries(selectorLabels(cluster))
      .map(([name, value]) => `${name}=${value}`)
      .join(","),
    members: membersOf(observed),
    storage: storageTypeOf(cluster.spec),
    ...etcdStatus(observed),
    ...(hasBundle ? { caBundle: caBundleName(cluster) } : {}),
  };
}
