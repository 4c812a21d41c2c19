// What a VaultCluster comes to: the objects that make it, its status, and when to look again. A chain of named checks,
// the first that finds something decides the summary. Pure.
import type { Millis } from "#common/clock.ts";
import { type Finding, type Look, type Summary, summaryFindings } from "#kube/conditions.ts";
import { CLUSTER_ROLE_BINDING } from "#kube/resource-kinds.ts";
import type { UnsealConfig } from "../../api/unseal-config.ts";
import type { VaultCluster, VaultClusterStatus } from "../../api/vault-cluster.ts";
import { authDelegatorName, caBundleName, ownerReference, selectorLabels, serverAddress } from "../../cluster-names.ts";
import type { MemberProbe } from "../../servers/probe.ts";
import { type SecretFacts, secretProblem } from "../../unseal-secret.ts";
import { conclude, type Decision } from "../decision.ts";
import type { CertificateState } from "./certificates.ts";
import { type Assessment, assess, membersOf } from "./members.ts";
import { grownClaims, supportingObjects } from "./objects.ts";
import { serverConfig } from "./server-config.ts";
import { statefulSet, type WorkloadSettings } from "./workload.ts";

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
  readonly pods: readonly PodFacts[];
  readonly members: readonly MemberProbe[];
  readonly boundary: BoundaryState;
  readonly settings: WorkloadSettings & { readonly serviceAccount: string };
  readonly look: Look;
}

export interface PodFacts {
  readonly name: string;
  /** Why it does not run, in the kubelet's or the scheduler's words. */
  readonly trouble: string | undefined;
  /** Whether it was tried and failed, rather than that it waits for something. */
  readonly isFailing: boolean;
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
  const summary = blocked ?? assessment?.summary ?? { state: "reconciling", reason: "PodsStarting", message: "" };
  const findings = [...summaryFindings(summary), ...tlsFinding(observed), ...(assessment?.findings ?? [])];
  const { conditions, events } = conclude(cluster.status?.conditions ?? [], look, findings);
  const isHalted = cluster.spec.suspend || blocked !== undefined;
  return {
    objects: isHalted ? [] : objectsOf(observed),
    removals: [],
    status: { ...statusOf(observed, assessment), conditions },
    events,
    requeueAfterMillis: requeueAfter(summary),
  };
}

/** What is to be removed by hand when the cluster goes; the rest goes with its owner. */
export function removalsOf(cluster: VaultCluster): Decision<unknown>["removals"] {
  return [{ kind: CLUSTER_ROLE_BINDING, ref: { name: authDelegatorName(cluster) } }];
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

const CHECKS: readonly Check[] = [checkNamespace, checkUnsealConfig, checkSecret, checkCertificate];

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
  const { cluster, unseal, certificate, secret, settings, templateSize } = observed;
  if (unseal === undefined || certificate === undefined || certificate.kind === "unusable") return [];
  const owner = ownerReference("VaultCluster", cluster.metadata, true);
  const { namespace, serviceAccount } = settings;
  const config = serverConfig(cluster, unseal, { namespace, serviceAccount });
  return [
    ...supportingObjects({ cluster, config, caBundle: certificate.caBundle, owner }),
    statefulSet({ cluster, unseal, secretVersion: secret?.version ?? "", settings, templateSize, owner }),
    ...grownClaims(cluster, templateSize),
  ];
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
    ...(hasBundle ? { caBundle: caBundleName(cluster) } : {}),
  };
}
