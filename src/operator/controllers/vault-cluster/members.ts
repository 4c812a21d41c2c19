// From what the pods and their servers say to what the cluster is: initialised, unsealed, serving, and why not. Pure.
import type { Finding, Summary } from "#kube/conditions.ts";
import { findCondition, holds } from "../../api/conditions.ts";
import type { VaultClusterStatus } from "../../api/vault-cluster.ts";
import type { MemberProbe, SealTrouble, ServerAnswer } from "../../servers/probe.ts";
import type { Observed } from "./decide.ts";

export interface Assessment {
  readonly summary: Summary;
  readonly findings: readonly Finding[];
  readonly phase: NonNullable<VaultClusterStatus["phase"]>;
}
type Answered = Extract<ServerAnswer, { kind: "answered" }>;

/** A member's reason in status. */
const REASON_CHARACTERS_MAX = 1024;
const BEING_READ = "the server's configuration is being read";

/** The pods with what they say, in order of their names. */
export function membersOf({ pods, members }: Observed): VaultClusterStatus["members"] {
  return pods.map(({ name, trouble }) => {
    const answer = members.find(({ pod }) => pod === name)?.answer;
    const reason = trouble ?? (answer === undefined ? "the pod is starting" : reasonOf(answer));
    return {
      name,
      ...(answer?.kind === "answered" ? { sealed: answer.sealed } : {}),
      ...(reason === undefined ? {} : { reason: reason.slice(0, REASON_CHARACTERS_MAX) }),
    };
  });
}

function reasonOf(answer: ServerAnswer): string | undefined {
  if (answer.kind === "silent") return answer.reason;
  const [trouble] = answer.troubles;
  if (trouble !== undefined) return waitingFor(trouble);
  if (!answer.initialized) return "not initialised yet";
  return answer.sealed ? "sealed" : undefined;
}

function waitingFor({ reason, message }: SealTrouble): string {
  return `waiting for the key service: ${reason}: ${message}`;
}

export function assess(observed: Observed): Assessment {
  const { cluster, pods, members } = observed;
  const answers = members.flatMap(({ answer }) => (answer.kind === "answered" ? [answer] : []));
  const wasInitialized = cluster.status?.initialized === true;
  if (answers.length === 0) return silent(observed, wasInitialized);
  const [trouble] = answers.flatMap(({ troubles }) => troubles);
  const initialized = answers.some((answer) => answer.initialized) || wasInitialized;
  const findings = [initializedFinding(initialized, trouble), unsealedFinding(answers, initialized, trouble)];
  const sealed = answers.filter((answer) => answer.sealed);
  if (!initialized) {
    if (trouble !== undefined)
      return { summary: failing("Sealed", waitingFor(trouble)), findings, phase: "Initializing" };
    return { summary: reconciling("Initializing", "the server is being initialised"), findings, phase: "Initializing" };
  }
  if (sealed.length === answers.length) {
    const message = trouble === undefined ? "the server is unsealing" : waitingFor(trouble);
    return { summary: failing("Sealed", message), findings, phase: "Unsealing" };
  }
  const complaint = pods.map(({ trouble: why }) => why).find((why) => why !== undefined) ?? silenceOf(members);
  // During an update there is a pod more than that, which may still be starting.
  const missing = answers.length - sealed.length < cluster.spec.replicas;
  const all = [...findings, configFinding(observed)];
  const boundary = observed.boundary;
  if (boundary.kind === "failed")
    return { summary: failing("ConfigFailed", boundary.message), findings: all, phase: "Degraded" };
  if (missing) {
    const reason = sealed.length > 0 ? "Sealed" : "PodsStarting";
    const message = trouble === undefined ? (complaint ?? "not every pod serves yet") : waitingFor(trouble);
    return { summary: { state: "failing", reason, message }, findings: all, phase: "Degraded" };
  }
  if (all.some(({ type, status }) => type === "ConfigSynced" && status === "Unknown"))
    return { summary: reconciling("Configuring", BEING_READ), findings: all, phase: "Initializing" };
  return {
    summary: { state: "ready", reason: "Running", message: runningMessage(answers) },
    findings: all,
    phase: "Running",
  };
}

function runningMessage(answers: readonly Answered[]): string {
  return answers.length === 1
    ? "the server is unsealed and serves"
    : `${answers.length} servers are unsealed and serve`;
}

const failing = (reason: string, message: string): Summary => ({ state: "failing", reason, message });
const reconciling = (reason: string, message: string): Summary => ({ state: "reconciling", reason, message });

/** Nobody answers: pods that are starting or cannot start, or a server that was there and is gone. */
function silent({ cluster, pods, members }: Observed, wasInitialized: boolean): Assessment {
  const conclusion = (summary: Summary): Assessment => ({
    summary,
    findings: wasInitialized ? [unknownUnsealed(summary)] : [],
    phase: wasInitialized ? "Degraded" : "Pending",
  });
  const failed = pods.find(({ trouble, isFailing }) => isFailing && trouble !== undefined);
  if (failed !== undefined) return conclusion(failing("PodFailing", `${failed.name}: ${failed.trouble}`));
  const trouble = pods.map((pod) => pod.trouble).find((why) => why !== undefined);
  const wasReady = holds(cluster.status, "Ready") || findCondition(cluster.status, "Ready")?.reason === "Unreachable";
  if (wasReady && trouble === undefined && pods.length > 0)
    return conclusion(
      failing("Unreachable", `the server does not answer: ${silenceOf(members) ?? "no reason is known"}`),
    );
  const starting = silenceOf(members) ?? "the pods are starting";
  return conclusion(
    reconciling("PodsStarting", trouble ?? (pods.length === 0 ? "the pods are being created" : starting)),
  );
}

function silenceOf(members: readonly MemberProbe[]): string | undefined {
  const [reason] = members.flatMap(({ answer }) => (answer.kind === "silent" ? [answer.reason] : []));
  return reason;
}

function unknownUnsealed({ reason, message }: Summary): Finding {
  return { type: "Unsealed", status: "Unknown", reason, message };
}

function initializedFinding(initialized: boolean, trouble: SealTrouble | undefined): Finding {
  if (initialized)
    return { type: "Initialized", status: "True", reason: "Initialized", message: "the storage is initialised" };
  const message = trouble === undefined ? "the server is being initialised" : waitingFor(trouble);
  return { type: "Initialized", status: "False", reason: "Initializing", message };
}

function unsealedFinding(
  answers: readonly Answered[],
  initialized: boolean,
  trouble: SealTrouble | undefined,
): Finding {
  const isUnsealed = initialized && answers.every((answer) => !answer.sealed);
  if (isUnsealed) return { type: "Unsealed", status: "True", reason: "Unsealed", message: "every pod is unsealed" };
  const message = trouble === undefined ? "the server is sealed" : waitingFor(trouble);
  return { type: "Unsealed", status: "False", reason: "Sealed", message };
}

function configFinding({ boundary, cluster }: Observed): Finding {
  const finding = (status: Finding["status"], reason: string, message: string): Finding => ({
    ...{ type: "ConfigSynced", status, reason, message },
  });
  if (boundary.kind === "same") return finding("True", "Configured", "the server has what the spec says");
  if (boundary.kind === "failed") return finding("False", "ConfigFailed", boundary.message);
  const before = findCondition(cluster.status, "ConfigSynced");
  // What was seen once holds until it is seen again: a session that cannot be had for a moment changes nothing.
  if (boundary.kind === "unknown" && before !== undefined && before.status !== "Unknown")
    return finding(before.status, before.reason, before.message);
  if (boundary.kind === "unknown") return finding("Unknown", "Configuring", BEING_READ);
  const title = `${cluster.metadata.namespace}/${cluster.metadata.name}`;
  return finding(
    "False",
    "ConfigFailed",
    `spec.access.rules are not what VaultCluster ${title} was initialised with, and the operator may not change the boundary: an administrator of the server has to write the policy coffer-boundary, and the rights of coffer-operator with it`,
  );
}
