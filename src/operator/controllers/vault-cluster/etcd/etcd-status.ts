// What status and conditions say of the etcd cluster of a VaultCluster. Pure.
import type { Finding } from "#kube/conditions.ts";
import type { VaultClusterStatus } from "../../../api/vault-cluster.ts";
import type { EtcdStep } from "./decide-etcd.ts";
import type { EtcdMember } from "./etcd-api.ts";
import { type EtcdObserved, type EtcdPod, isLeader, isWorking, nameOf } from "./etcd-observed.ts";
import type { Phase } from "./member-config.ts";

export type MemberState = NonNullable<VaultClusterStatus["etcd"]>["members"][number];

export function statesOf(observed: EtcdObserved, phases: ReadonlyMap<string, Phase>): readonly MemberState[] {
  const { cluster, members, pods } = observed;
  const names = new Set([...phases.keys(), ...pods.map(({ name }) => name)]);
  return [...names].toSorted().map((name): MemberState => {
    const pod = pods.find((one) => one.name === name);
    const member = members?.find((one) => nameOf(cluster, one) === name);
    const state = stateOf(observed, { pod, member, phase: phases.get(name) });
    const reason = state === "Healthy" ? undefined : reasonOf(state, pod);
    const version = pod?.answer?.version ?? "";
    return {
      name,
      state,
      ...(member === undefined ? {} : { id: BigInt(member.ID).toString(16) }),
      ...(pod !== undefined && isLeader(pod) ? { leader: true } : {}),
      ...(version === "" ? {} : { version }),
      ...(reason === undefined ? {} : { reason: reason.slice(0, 1024) }),
    };
  });
}

function stateOf(
  observed: EtcdObserved,
  { pod, member, phase }: { pod: EtcdPod | undefined; member: EtcdMember | undefined; phase: Phase | undefined },
): MemberState["state"] {
  if (member !== undefined && !member.isLearner && isWorking(observed, member)) return "Healthy";
  if (member?.isLearner === true || phase?.kind === "joining") return "Joining";
  if (pod?.lostData === true) return "DataLost";
  if (phase?.kind === "new" || (observed.members !== undefined && member === undefined && phase !== undefined))
    return "Starting";
  return phase === undefined ? "Leaving" : "Unreachable";
}

function reasonOf(state: MemberState["state"], pod: EtcdPod | undefined): string {
  if (state === "DataLost") return "its volume holds no data; it is replaced as soon as the other members allow it";
  if (state === "Leaving") return "it is no member any more; its pod goes";
  return pod?.trouble ?? pod?.silence ?? (pod === undefined ? "its pod is being created" : "it has no vote yet");
}

/** A step in words. */
export function sentenceOf(step: EtcdStep): string {
  if (step.kind === "add") return `adding ${step.name}`;
  if (step.kind === "promote") return `${step.name} gets its vote when it has caught up`;
  if (step.kind === "remove") return `removing ${step.name} from the list of members`;
  if (step.kind === "restart") return `restarting ${step.name}: ${step.why}`;
  if (step.kind === "discard") return `emptying the volume of ${step.name}, which is a former member's`;
  return step.kind === "defragment" ? `defragmenting ${step.name}` : "letting writes in again";
}

/** The condition EtcdHealthy. */
export function findingOf(facts: {
  observed: EtcdObserved;
  phases: ReadonlyMap<string, Phase>;
  isServing: boolean;
  isSettled: boolean;
  said: string | undefined;
  states: readonly MemberState[];
}): Finding {
  const { phases, isServing, isSettled, said, states } = facts;
  const finding = (status: Finding["status"], reason: string, message: string): Finding => ({
    ...{ type: "EtcdHealthy", status, reason, message },
  });
  if (isSettled) return finding("True", "EtcdMembersHealthy", `${states.length} members work`);
  const bad = states.filter(({ state }) => state !== "Healthy");
  const listed = bad.map(({ name, state, reason }) => `${name} ${state}: ${reason ?? ""}`).join("; ");
  if ([...phases.values()].some(({ kind }) => kind === "new"))
    return finding("False", "EtcdStarting", listed === "" ? "the members are starting" : listed);
  if (!isServing)
    return finding("False", "EtcdUnavailable", `no majority of the members works, so nothing can be read: ${listed}`);
  if (said !== undefined && bad.length === 0) return finding("True", "EtcdMembersHealthy", said);
  if (said !== undefined) return finding("False", "EtcdRepairing", `${said}; ${listed}`);
  return finding("False", "EtcdDegraded", listed);
}
