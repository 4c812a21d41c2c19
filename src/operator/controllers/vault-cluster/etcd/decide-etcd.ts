// What the etcd cluster of a VaultCluster comes to: how far each member has come, how many pods there are, and the one
// step that is taken now. Steps are so small that each is seen in the next look, so an operator that is killed between
// two of them goes on with the second. Members change one at a time, and only while enough others work. Pure.
import type { Finding } from "#kube/conditions.ts";
import type { VaultClusterStatus } from "../../../api/vault-cluster.ts";
import type { EtcdMember, EtcdStatus } from "./etcd-api.ts";
import { memberName, ordinalOf, peerUrl } from "./etcd-names.ts";
import { type EtcdObserved, type EtcdPod, isLeader, isWorking, nameOf } from "./etcd-observed.ts";
import { findingOf, sentenceOf, statesOf } from "./etcd-status.ts";
import type { Phase } from "./member-config.ts";
import { quotaBytes } from "./quota.ts";

export type EtcdStep =
  | { readonly kind: "add"; readonly peer: string; readonly name: string }
  | { readonly kind: "promote" | "remove"; readonly id: string; readonly name: string }
  /** The pod is made anew, so that it reads its configuration anew. */
  | { readonly kind: "restart"; readonly name: string; readonly why: string }
  /** Its volume goes, and the pod with it, to be made anew: it holds what a former member of this name has left. */
  | { readonly kind: "discard"; readonly name: string }
  | { readonly kind: "defragment"; readonly name: string }
  | { readonly kind: "disarm"; readonly name: string; readonly id: string };

export interface EtcdPlan {
  readonly phases: ReadonlyMap<string, Phase>;
  /** Pods that there are to be. */
  readonly replicas: number;
  readonly step: EtcdStep | undefined;
  /** Whether a majority works, so that servers can. */
  readonly isServing: boolean;
  readonly isSettled: boolean;
  readonly finding: Finding;
  readonly status: NonNullable<VaultClusterStatus["etcd"]>;
}

/** Defragmentation pays from here on: below, the file is small anyway. */
const FRAGMENTED_BYTES_MIN = 64 * 1024 * 1024;
/** The part of the file that is free. */
const FRAGMENTED_PART = 0.5;

export function decideEtcd(observed: EtcdObserved): EtcdPlan {
  const { cluster, members } = observed;
  const wanted = cluster.spec.storage.etcd.members;
  const phases = phasesOf(observed, wanted);
  const step = members === undefined ? undefined : stepOf({ ...observed, members, phases, wanted });
  const replicas = replicasOf(observed, phases, wanted);
  const states = statesOf(observed, phases);
  const voters = (members ?? []).filter((one) => !one.isLearner);
  const working = voters.filter((voter) => isWorking(observed, voter));
  const isServing = members !== undefined && voters.length > 0 && working.length > voters.length / 2;
  const isSettled = step === undefined && isServing && states.every(({ state }) => state === "Healthy");
  const said = step === undefined ? undefined : sentenceOf(step);
  return {
    ...{ phases, replicas, step, isServing, isSettled },
    finding: findingOf({ observed, phases, isServing, isSettled, said, states }),
    status: { members: states, ...(said === undefined ? {} : { step: said }) },
  };
}

/** How far members have come, after this look. */
function phasesOf({ cluster, phases: before, hasVolumes, members, pods }: EtcdObserved, wanted: number) {
  const names = Array.from({ length: wanted }, (_, ordinal) => memberName(cluster, ordinal));
  // Volumes without a ConfigMap: of a cluster that was there before, or somebody has deleted it. There is data.
  const first: Phase = { kind: hasVolumes ? "joined" : "new" };
  const known = before ?? new Map(names.map((name) => [name, first]));
  if (members === undefined) return known;
  const all = members
    .flatMap((one) => nameOf(cluster, one) ?? [])
    .filter((name) => ordinalOf(cluster, name) !== undefined);
  // The list has the founders from the beginning; one has data when it answers. They are done together.
  const founded = names.every((name) => known.get(name)?.kind !== "new" || hasArrived({ members, pods }, name));
  const next = new Map<string, Phase>();
  for (const name of new Set([...known.keys(), ...all])) {
    const phase = known.get(name) ?? { kind: "joined" };
    const member = members.find((one) => nameOf(cluster, one) === name);
    if (phase.kind === "new") next.set(name, founded ? { kind: "joined" } : phase);
    else if (member !== undefined && member.name === "") next.set(name, { kind: "joining", among: all });
    else if (member !== undefined)
      next.set(
        name,
        settledPhase(
          phase,
          pods.find((pod) => pod.name === name),
        ),
      );
    else if ((ordinalOf(cluster, name) ?? 0) < wanted) next.set(name, { kind: "joined" });
  }
  return next;
}

/** A learner counts as arrived when it says itself who it is: it has data then. */
function settledPhase(phase: Phase, pod: EtcdPod | undefined): Phase {
  return phase.kind === "joining" && pod?.answer === undefined ? phase : { kind: "joined" };
}

/** It has data, or has had some. */
function hasArrived({ members, pods }: { members: readonly EtcdMember[]; pods: readonly EtcdPod[] }, name: string) {
  const pod = pods.find((one) => one.name === name);
  return members.some(
    (one) => one.name === name && (pod?.lostData === true || one.ID === pod?.answer?.header.member_id),
  );
}

interface Situation extends EtcdObserved {
  readonly members: readonly EtcdMember[];
  readonly phases: ReadonlyMap<string, Phase>;
  readonly wanted: number;
}

/** The first that applies. Nothing is begun while something else is under way. */
function stepOf(situation: Situation): EtcdStep | undefined {
  if ([...situation.phases.values()].some(({ kind }) => kind === "new")) return undefined;
  return (
    arrival(situation) ??
    loss(situation) ??
    absence(situation) ??
    surplus(situation) ??
    outdated(situation) ??
    upkeep(situation)
  );
}

/** A member that was added is seen to its vote before anything else is done. */
function arrival({ cluster, members, pods }: Situation): EtcdStep | undefined {
  const unstarted = members.find(({ name }) => name === "");
  const name = unstarted && nameOf(cluster, unstarted);
  const pod = pods.find((one) => one.name === name);
  if (pod?.lostData === true)
    return { kind: "restart", name: pod.name, why: "it has been added and may begin without data" };
  const learner = members.find((one) => one.isLearner && one.name !== "");
  if (learner !== undefined && pods.find((one) => one.name === learner.name)?.lostData === true)
    return { kind: "remove", id: learner.ID, name: learner.name };
  return learner && { kind: "promote", id: learner.ID, name: learner.name };
}

/** A member whose disk is gone leaves the list, if the others are enough without it. */
function loss({ cluster, members, pods, ...rest }: Situation): EtcdStep | undefined {
  if (members.some(({ name, isLearner }) => name === "" || isLearner)) return undefined;
  const lost = members.find((one) => pods.find(({ name }) => name === one.name)?.lostData === true);
  if (lost === undefined || !canSpare({ cluster, members, pods, ...rest }, lost)) return undefined;
  return { kind: "remove", id: lost.ID, name: lost.name };
}

/** Whether those that stay are a majority of themselves, all of them working. */
function canSpare({ cluster, members, pods }: Situation, leaving: EtcdMember): boolean {
  const staying = members.filter((one) => one !== leaving && !one.isLearner);
  const working = staying.filter((one) => isWorking({ cluster, pods }, one));
  return working.length > staying.length / 2 && working.length > 0;
}

/** A member that should be there and is not in the list is added, while all others work. */
function absence({ cluster, members, pods, wanted }: Situation): EtcdStep | undefined {
  if (members.some(({ name, isLearner }) => name === "" || isLearner)) return undefined;
  const working = members.filter((one) => isWorking({ cluster, pods }, one));
  if (working.length <= members.length / 2) return undefined;
  const known = new Set(members.map((one) => nameOf(cluster, one)));
  const ordinal = Array.from({ length: wanted }, (_, i) => i).find((i) => !known.has(memberName(cluster, i)));
  if (ordinal === undefined) return undefined;
  const name = memberName(cluster, ordinal);
  const pod = pods.find((one) => one.name === name);
  // Under a new number only an empty disk will do. A pod that is still starting has not said yet what it has.
  if (pod === undefined || pod.lostData) return { kind: "add", name, peer: peerUrl(cluster, name) };
  return pod.hasEnded ? { kind: "discard", name } : undefined;
}

/** The last member beyond those that are wanted. */
function surplus(situation: Situation): EtcdStep | undefined {
  const { cluster, members, wanted } = situation;
  const beyond = members
    .map((one) => ({ one, ordinal: ordinalOf(cluster, nameOf(cluster, one) ?? "") ?? -1 }))
    .filter(({ ordinal }) => ordinal >= wanted)
    .toSorted((a, b) => b.ordinal - a.ordinal)[0]?.one;
  if (beyond === undefined || !canSpare(situation, beyond)) return undefined;
  return { kind: "remove", id: beyond.ID, name: nameOf(cluster, beyond) ?? beyond.name };
}

function allWork({ cluster, members, pods, wanted }: Situation): boolean {
  const isWhole = members.length === wanted && members.every((one) => !one.isLearner);
  return isWhole && members.every((one) => isWorking({ cluster, pods }, one));
}

/** Those that follow before the one that leads: so there is one change of leader at most. */
function leaderLast(pods: readonly EtcdPod[]): readonly EtcdPod[] {
  return pods.toSorted((a, b) => Number(isLeader(a)) - Number(isLeader(b)) || (a.name < b.name ? -1 : 1));
}

/** Pods of an older template, one at a time: the operator's own order and gates, for the StatefulSet knows no majority. */
function outdated(situation: Situation): EtcdStep | undefined {
  const old = leaderLast(situation.pods).filter(({ isCurrent }) => !isCurrent);
  // One that does not work anyway is made anew first; else all must work, and be ready in Kubernetes' eyes too.
  const broken = old.find(({ answer, lostData }) => answer === undefined && !lostData);
  const others = situation.members.find(({ name }) => name === broken?.name);
  if (broken !== undefined && others !== undefined && canSpare(situation, others))
    return { kind: "restart", name: broken.name, why: "it has an older template and does not work" };
  const [next] = old;
  if (next === undefined || !allWork(situation) || !situation.pods.every(({ isReady }) => isReady)) return undefined;
  return { kind: "restart", name: next.name, why: "it has an older template" };
}

/** Defragmentation and what follows a full database, one member at a time, while all work. */
function upkeep(situation: Situation): EtcdStep | undefined {
  if (!allWork(situation)) return undefined;
  const fragmented = leaderLast(situation.pods).find(({ answer }) => answer !== undefined && isFragmented(answer));
  if (fragmented !== undefined) return { kind: "defragment", name: fragmented.name };
  const alarm = situation.pods.flatMap(({ answer }) => answer?.errors ?? []).find((text) => text.includes("NOSPACE"));
  const id = /memberID:([0-9]+)/.exec(alarm ?? "")?.[1];
  const [asked] = situation.pods;
  if (id === undefined || asked === undefined || !hasRoom(situation)) return undefined;
  return { kind: "disarm", name: asked.name, id };
}

function isFragmented({ dbSize, dbSizeInUse, errors }: EtcdStatus): boolean {
  const free = Number(dbSize) - Number(dbSizeInUse);
  // A database that is full gets back what little there is.
  const isFull = errors.some((text) => text.includes("NOSPACE")) && free > Number(dbSize) * 0.2;
  return isFull || (Number(dbSize) >= FRAGMENTED_BYTES_MIN && free > Number(dbSize) * FRAGMENTED_PART);
}

/** After defragmentation a good part of the quota is free again, in every member. */
function hasRoom({ pods, cluster }: Situation): boolean {
  const quota = quotaBytes(cluster);
  return pods.every(({ answer }) => Number(answer?.dbSize ?? 0) < quota * 0.8);
}

/**
 * Pods that there are to be: of all members in the list, so one that is on its way out stays until it is out of it, and
 * one that was taken out to be added again keeps its pod.
 */
function replicasOf(
  { cluster, members, pods }: EtcdObserved,
  phases: ReadonlyMap<string, Phase>,
  wanted: number,
): number {
  const ordinal = (name: string) => ordinalOf(cluster, name) ?? -1;
  const running = pods.map(({ name }) => ordinal(name));
  const known = [...phases].map(([name]) => ordinal(name));
  // While nothing is known, nothing changes.
  if (members === undefined) return Math.max(...running, ...known) + 1;
  const founders = [...phases].flatMap(([name, { kind }]) => (kind === "new" ? [ordinal(name)] : []));
  const listed = members.map((one) => ordinal(nameOf(cluster, one) ?? ""));
  return Math.max(...listed, ...founders, ...running.filter((each) => each < wanted)) + 1;
}
