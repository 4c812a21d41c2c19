// Decisions about etcd members in a small model of etcd and Kubernetes: pods die, disks are lost, numbers change, the
// operator dies between any two things that it does. Whatever happens: nobody is taken out whom the others cannot spare,
// no empty disk starts under a number that has had data, and in the end everything is as it was asked for.
import { describe, expect, it } from "vitest";
import { SeededRandom } from "#test/kit/seeded-random.ts";
import { cluster } from "#test/operator/fixtures.ts";
import { decideEtcd, type EtcdStep } from "./decide-etcd.ts";
import type { EtcdMember, EtcdStatus } from "./etcd-api.ts";
import { memberName, ordinalOf, peerUrl } from "./etcd-names.ts";
import type { EtcdObserved } from "./etcd-observed.ts";
import type { Phase } from "./member-config.ts";

interface SimulatedPod {
  /** The number under which there is data on its disk. */
  disk: string | undefined;
  /** What the file said when it was started. */
  phase: Phase | undefined;
  state: "running" | "ended" | "lost" | "removed";
  isCurrent: boolean;
}
type Member = { -readonly [K in keyof EtcdMember]: EtcdMember[K] };

class World {
  wanted = 3;
  phases: ReadonlyMap<string, Phase> | undefined;
  readonly pods = new Map<string, SimulatedPod>();
  members: Member[] | undefined;
  readonly #hadData = new Set<string>();
  readonly steps: EtcdStep["kind"][] = [];
  #nextId = 1;

  get cluster() {
    return cluster({ spec: { replicas: 3, storage: { etcd: { members: this.wanted } } } });
  }

  #working(member: EtcdMember): boolean {
    const pod = this.pods.get(member.name);
    return pod?.state === "running" && pod.disk === member.ID;
  }

  #hasMajority(): boolean {
    const voters = (this.members ?? []).filter((one) => !one.isLearner);
    return voters.filter((one) => this.#working(one)).length > voters.length / 2;
  }

  observe(): EtcdObserved {
    const leader = this.#hasMajority()
      ? (this.members?.find((one) => this.#working(one) && !one.isLearner)?.ID ?? "0")
      : "0";
    const pods = [...this.pods].map(([name, pod]) => {
      const answer: EtcdStatus | undefined =
        pod.state === "running" && pod.disk !== undefined
          ? {
              ...{ header: { member_id: pod.disk }, version: "3", dbSize: "1", dbSizeInUse: "1", leader, errors: [] },
              isLearner: this.members?.find(({ ID }) => ID === pod.disk)?.isLearner === true,
            }
          : undefined;
      const silence = answer === undefined ? "it does not answer" : undefined;
      const facts = { name, trouble: undefined, isCurrent: pod.isCurrent, isReady: answer !== undefined };
      const hasEnded = pod.state === "lost" || pod.state === "removed";
      return { ...facts, lostData: pod.state === "lost", hasEnded, answer, silence };
    });
    const members = leader === "0" ? undefined : this.members?.map((one) => ({ ...one }));
    return { cluster: this.cluster, phases: this.phases, hasVolumes: this.pods.size > 0, pods, members };
  }

  /** What the API server and the StatefulSet do with the objects. */
  apply(phases: ReadonlyMap<string, Phase>, replicas: number): void {
    this.phases = phases;
    for (let ordinal = 0; ordinal < replicas; ordinal++) {
      const name = memberName(this.cluster, ordinal);
      if (!this.pods.has(name))
        this.pods.set(name, { disk: undefined, phase: undefined, state: "ended", isCurrent: true });
    }
    for (const name of [...this.pods.keys()])
      if ((ordinalOf(this.cluster, name) ?? 0) >= replicas) {
        const { disk } = this.pods.get(name) ?? {};
        expect(
          this.members?.some(({ ID }) => ID === disk),
          `${name} is a member and its volume goes`,
        ).toBe(false);
        this.pods.delete(name);
      }
  }

  /** What etcd and Kubernetes do with a step. */
  take(step: EtcdStep): void {
    this.steps.push(step.kind);
    if (step.kind === "restart") {
      const pod = this.pods.get(step.name);
      if (pod !== undefined) Object.assign(pod, { state: "ended", isCurrent: true });
    }
    if (step.kind === "discard") this.wipe(step.name);
    if (!this.#hasMajority() || this.members === undefined) return;
    const found = "id" in step ? this.members.find(({ ID }) => ID === step.id) : undefined;
    if (step.kind === "add")
      this.members.push({ ID: String(this.#nextId++), name: "", peerURLs: [step.peer], isLearner: true });
    if (step.kind === "promote" && found !== undefined && this.#working(found)) found.isLearner = false;
    if (step.kind === "remove") {
      this.members = this.members.filter((one) => one !== found);
      for (const pod of this.pods.values())
        if (pod.disk === found?.ID && pod.state === "running") pod.state = "removed";
      expect(this.#hasMajority(), "those that stay work").toBe(true);
    }
  }

  /** Pods that do not run are started, as the kubelet does again and again. */
  tick(): void {
    for (const [name, pod] of this.pods) if (pod.state !== "running") this.#start(name, pod);
    const founders = [...this.pods].filter(([, pod]) => pod.phase?.kind === "new" && pod.disk === undefined);
    if (this.members === undefined && founders.length === this.wanted)
      this.members = founders.map(([name]) => ({
        ...{ ID: String(this.#nextId++), name, peerURLs: [peerUrl(this.cluster, name)], isLearner: false },
      }));
    for (const [name, pod] of founders) {
      const id = this.members?.find((one) => one.name === name)?.ID;
      // etcd asks the others whether a founder has been there before.
      if (id !== undefined && this.#hadData.has(id)) pod.state = "lost";
      else if (id !== undefined) this.#fill(pod, id);
    }
  }

  #start(name: string, pod: SimulatedPod): void {
    // Only a pod made anew reads its file anew; a container that has ended keeps what it was started with.
    if (pod.state === "ended") pod.phase = this.phases?.get(name);
    if (pod.disk !== undefined) {
      const isListed = this.members?.some(({ ID }) => ID === pod.disk) === true;
      pod.state = isListed ? "running" : "removed";
    } else if (pod.phase?.kind === "joined") pod.state = "lost";
    else if (pod.phase?.kind === "joining") {
      const waiting = this.members?.find((one) => one.name === "" && one.peerURLs[0] === peerUrl(this.cluster, name));
      if (waiting === undefined || !this.#hasMajority()) return;
      waiting.name = name;
      this.#fill(pod, waiting.ID);
    }
  }

  #fill(pod: SimulatedPod, id: string): void {
    expect(this.#hadData.has(id), `the number ${id} begins empty a second time`).toBe(false);
    this.#hadData.add(id);
    Object.assign(pod, { disk: id, state: "running" });
  }

  kill(name: string): void {
    const pod = this.pods.get(name);
    if (pod !== undefined) pod.state = "ended";
  }
  wipe(name: string): void {
    const pod = this.pods.get(name);
    if (pod !== undefined) Object.assign(pod, { state: "ended", disk: undefined });
  }

  isSettled(): boolean {
    const plan = decideEtcd(this.observe());
    return plan.isSettled && plan.status.members.length === this.wanted && this.pods.size === this.wanted;
  }
}

/** One look of the operator, which may die after any of its parts. */
function look(world: World, dies: (part: string) => boolean): void {
  const plan = decideEtcd(world.observe());
  if (dies("before it has done anything")) return;
  world.apply(plan.phases, plan.replicas);
  if (dies("between the objects and the step") || plan.step === undefined) return;
  if (JSON.stringify(decideEtcd(world.observe()).step) === JSON.stringify(plan.step)) world.take(plan.step);
}

function settle(world: World, what: string): void {
  for (let i = 0; i < 80 && !world.isSettled(); i++) {
    look(world, () => false);
    world.tick();
  }
  expect(world.isSettled(), `${what}: ${JSON.stringify(decideEtcd(world.observe()).status)}`).toBe(true);
}

function disturb(world: World, random: SeededRandom): void {
  const names = [...world.pods.keys()];
  const name = names[random.integer(0, names.length)] ?? "";
  const kind = random.integer(0, 10);
  if (kind < 3) world.kill(name);
  // A second disk at a time may be more than a majority can spare; that is what backups are for.
  else if (kind < 5 && world.isSettled()) world.wipe(name);
  else if (kind === 5) world.wanted = world.wanted === 3 ? 5 : 3;
  else if (kind === 6) for (const pod of world.pods.values()) pod.isCurrent = false;
}

describe("etcd members in a model", () => {
  it("come up, and lose a disk, and are five and three again", () => {
    const world = new World();
    settle(world, "new");
    expect(world.steps).toEqual([]);
    world.wipe(memberName(world.cluster, 1));
    settle(world, "a disk lost");
    expect(world.steps).toEqual(["remove", "add", "restart", "promote"]);
    world.wanted = 5;
    settle(world, "five");
    world.wanted = 3;
    settle(world, "three");
  });

  it.each(Array.from({ length: 60 }, (_, seed) => seed))("bear whatever happens (seed %d)", (seed) => {
    const random = new SeededRandom(seed);
    const world = new World();
    settle(world, "new");
    for (let turn = 0; turn < 60; turn++) {
      if (random.integer(0, 3) === 0) disturb(world, random);
      look(world, () => random.integer(0, 4) === 0);
      if (random.integer(0, 3) > 0) world.tick();
    }
    settle(world, `seed ${seed}`);
  });
});
