import { describe, expect, it } from "vitest";
import { cluster } from "#test/operator/fixtures.ts";
import { decideEtcd } from "./decide-etcd.ts";
import type { EtcdMember, EtcdStatus } from "./etcd-api.ts";
import { memberName, peerUrl } from "./etcd-names.ts";
import type { EtcdObserved, EtcdPod } from "./etcd-observed.ts";
import { configFileName, memberConfig, type Phase, readPhases } from "./member-config.ts";
import { quotaBytes } from "./quota.ts";

const three = cluster({ spec: { replicas: 3 } });
const five = cluster({ spec: { replicas: 3, storage: { etcd: { members: 5 } } } });
const name = (ordinal: number) => memberName(three, ordinal);

const member = (ordinal: number, more: Partial<EtcdMember> = {}): EtcdMember => ({
  ...{ ID: String(ordinal + 1), name: name(ordinal), peerURLs: [peerUrl(three, name(ordinal))], isLearner: false },
  ...more,
});
const unstarted = (ordinal: number, id = "9") => member(ordinal, { ID: id, name: "", isLearner: true });

const answer = (ordinal: number, more: Partial<EtcdStatus> = {}): EtcdStatus => ({
  ...{ header: { member_id: String(ordinal + 1) }, version: "3.6.4", dbSize: "1000", dbSizeInUse: "900" },
  ...{ leader: "1", isLearner: false, errors: [] },
  ...more,
});

const pod = (ordinal: number, more: Partial<EtcdPod> = {}): EtcdPod => ({
  ...{ name: name(ordinal), trouble: undefined, lostData: false, hasEnded: false, isCurrent: true, isReady: true },
  ...{ answer: answer(ordinal), silence: undefined },
  ...more,
});
const lost = (ordinal: number) =>
  pod(ordinal, { lostData: true, hasEnded: true, isReady: false, answer: undefined, silence: "refused" });
const dead = (ordinal: number) => pod(ordinal, { isReady: false, answer: undefined, silence: "refused" });

const phases = (...kinds: readonly Phase["kind"][]): ReadonlyMap<string, Phase> =>
  new Map(kinds.map((kind, i): [string, Phase] => [name(i), kind === "joining" ? { kind, among: [] } : { kind }]));
const joined = phases("joined", "joined", "joined");

const healthy: EtcdObserved = {
  cluster: three,
  phases: joined,
  hasVolumes: true,
  pods: [pod(0), pod(1), pod(2)],
  members: [member(0), member(1), member(2)],
};
const decided = (more: Partial<EtcdObserved>) => decideEtcd({ ...healthy, ...more });

describe("one step at a time with etcd members", () => {
  it.each<[string, Partial<EtcdObserved>, object | undefined]>([
    ["all is well", {}, undefined],
    ["a disk is lost", { pods: [pod(0), pod(1), lost(2)] }, { kind: "remove", id: "3" }],
    ["a member is silent for another reason", { pods: [pod(0), pod(1), dead(2)] }, undefined],
    ["two disks are lost", { pods: [pod(0), lost(1), lost(2)] }, undefined],
    [
      "it has left the list",
      { pods: [pod(0), pod(1), lost(2)], members: [member(0), member(1)] },
      { kind: "add", name: name(2) },
    ],
    [
      "one that is not in the list has data of a former member",
      { pods: [pod(0), pod(1), { ...dead(2), hasEnded: true }], members: [member(0), member(1)] },
      { kind: "discard", name: name(2) },
    ],
    [
      "one that is not in the list has not said yet what it has",
      { pods: [pod(0), pod(1), dead(2)], members: [member(0), member(1)] },
      undefined,
    ],
    [
      "it has left the list, and one of the two others is gone",
      { pods: [pod(0), dead(1), lost(2)], members: [member(0), member(1)] },
      undefined,
    ],
    [
      "it has been added, its pod still ends as before",
      { pods: [pod(0), pod(1), lost(2)], members: [member(0), member(1), unstarted(2)] },
      { kind: "restart", name: name(2) },
    ],
    [
      "it has been added, its new pod starts",
      { pods: [pod(0), pod(1), dead(2)], members: [member(0), member(1), unstarted(2)] },
      undefined,
    ],
    [
      "it receives the data",
      { members: [member(0), member(1), member(2, { ID: "9", isLearner: true })] },
      { kind: "promote", id: "9" },
    ],
    [
      "it loses its disk once more before it has a vote",
      { pods: [pod(0), pod(1), lost(2)], members: [member(0), member(1), member(2, { ID: "9", isLearner: true })] },
      { kind: "remove", id: "9" },
    ],
    ["more are wanted", { cluster: five }, { kind: "add", name: name(3) }],
    [
      "fewer are wanted",
      { pods: [0, 1, 2, 3, 4].map((i) => pod(i)), members: [0, 1, 2, 3, 4].map((i) => member(i)) },
      { kind: "remove", id: "5" },
    ],
    [
      "a follower's pod is of an older template",
      { pods: [pod(0, { isCurrent: false }), pod(1), pod(2, { isCurrent: false })] },
      { kind: "restart", name: name(2) },
    ],
    ["the leader's is the last", { pods: [pod(0, { isCurrent: false }), pod(1), pod(2)] }, { kind: "restart" }],
    [
      "an older template while another member is away",
      { pods: [pod(0, { isCurrent: false }), pod(1), dead(2)] },
      undefined,
    ],
    [
      "an older template while another is not ready",
      { pods: [pod(0, { isCurrent: false }), pod(1), pod(2, { isReady: false })] },
      undefined,
    ],
    [
      "an older template that does not work, as with a wrong image",
      { pods: [pod(0), pod(1), pod(2, { isCurrent: false, answer: undefined, isReady: false })] },
      { kind: "restart", name: name(2) },
    ],
    [
      "much of a file is free",
      { pods: [pod(0), pod(1), pod(2, { answer: answer(2, { dbSize: "200000000", dbSizeInUse: "50000000" }) })] },
      { kind: "defragment", name: name(2) },
    ],
    [
      "much of a file is free, and a member is away",
      { pods: [pod(0, { answer: answer(0, { dbSize: "200000000", dbSizeInUse: "5" }) }), pod(1), dead(2)] },
      undefined,
    ],
    [
      "the database was full and has room",
      { pods: [pod(0, { answer: answer(0, { errors: ["memberID:77 alarm:NOSPACE "] }) }), pod(1), pod(2)] },
      { kind: "disarm", id: "77" },
    ],
  ])("%s", (_case, more, step) => {
    if (step === undefined) expect(decided(more).step).toBeUndefined();
    else expect(decided(more).step).toMatchObject(step);
  });

  it("no step while nobody with a leader answers", () => {
    const plan = decided({ members: undefined, pods: [dead(0), dead(1), lost(2)] });
    expect(plan.step).toBeUndefined();
    expect(plan.isServing).toBe(false);
    expect(plan.finding).toMatchObject({ status: "False", reason: "EtcdUnavailable" });
    expect(plan.phases).toBe(joined);
    expect(plan.replicas).toBe(3);
  });
});

describe("how far members have come", () => {
  const kinds = (plan: ReturnType<typeof decideEtcd>) => [...plan.phases.values()].map(({ kind }) => kind);

  it("a new cluster begins together, and is done together", () => {
    const fresh = { phases: undefined, hasVolumes: false, pods: [], members: undefined };
    expect(kinds(decided(fresh))).toEqual(["new", "new", "new"]);
    expect(decided(fresh).replicas).toBe(3);
    expect(decided(fresh).finding.reason).toBe("EtcdStarting");
    const started = { ...fresh, phases: phases("new", "new", "new"), pods: [pod(0), pod(1), dead(2)] };
    const late = decided({ ...started, members: healthy.members });
    expect(kinds(late)).toEqual(["new", "new", "new"]);
    expect(late.step).toBeUndefined();
    const whole = decided({ ...started, pods: healthy.pods, members: healthy.members });
    expect(kinds(whole)).toEqual(["joined", "joined", "joined"]);
  });

  it("volumes of a cluster that was there before are not begun anew", () => {
    expect(kinds(decided({ phases: undefined, hasVolumes: true, pods: [], members: undefined }))).toEqual([
      "joined",
      "joined",
      "joined",
    ]);
  });

  it("a member that was added may begin empty until it answers", () => {
    const members = [member(0), member(1), unstarted(2)];
    const added = decided({ members, pods: [pod(0), pod(1), lost(2)] });
    expect(added.phases.get(name(2))).toEqual({ kind: "joining", among: [name(0), name(1), name(2)] });
    expect(added.replicas).toBe(3);
    expect(added.finding).toMatchObject({ status: "False", reason: "EtcdRepairing" });
    const before = added.phases;
    const learner = { members: [member(0), member(1), member(2, { ID: "9", isLearner: true })], phases: before };
    expect(decided({ ...learner, pods: [pod(0), pod(1), dead(2)] }).phases.get(name(2))?.kind).toBe("joining");
    expect(decided(learner).phases.get(name(2))?.kind).toBe("joined");
  });

  it("pods follow the list: one more when a member was added, one less when it has left", () => {
    expect(decided({ cluster: five }).replicas).toBe(3);
    expect(decided({ cluster: five, members: [...(healthy.members ?? []), unstarted(3)] }).replicas).toBe(4);
    const four = [0, 1, 2, 3].map((i) => pod(i));
    expect(decided({ pods: four, members: [0, 1, 2, 3].map((i) => member(i)) }).replicas).toBe(4);
    expect(decided({ pods: four }).replicas).toBe(3);
    expect(decided({ pods: [pod(0), pod(1), lost(2)], members: [member(0), member(1)] }).replicas).toBe(3);
  });

  it("survives the ConfigMap", () => {
    const all: ReadonlyMap<string, Phase> = new Map([
      [name(0), { kind: "joined" }],
      [name(1), { kind: "joining", among: [name(0), name(1)] }],
      [name(2), { kind: "new" }],
    ]);
    const data = Object.fromEntries(
      [...all].map(([one, phase]) => [
        configFileName(one),
        JSON.stringify(memberConfig({ cluster: three, member: one, phase, founders: 3, quotaBytes: 1 })),
      ]),
    );
    expect(readPhases(data)).toEqual(all);
  });
});

describe("what is shown of etcd", () => {
  it("names members as etcdctl does, and which one leads", () => {
    expect(decided({}).status).toEqual({
      members: [0, 1, 2].map((i) => ({
        ...{ name: name(i), state: "Healthy", id: String(i + 1), version: "3.6.4" },
        ...(i === 0 ? { leader: true } : {}),
      })),
    });
  });

  it("says what happens to a lost disk", () => {
    const plan = decided({ pods: [pod(0), pod(1), lost(2)] });
    expect(plan.isServing).toBe(true);
    expect(plan.status.members[2]).toMatchObject({ state: "DataLost" });
    expect(plan.finding.message).toContain(`removing ${name(2)} from the list of members`);
  });

  it("takes a pod that answers under another number for none of the list", () => {
    const stranger = pod(2, { answer: answer(2, { header: { member_id: "77" } }) });
    expect(decided({ pods: [pod(0), pod(1), stranger] }).status.members[2]?.state).toBe("Unreachable");
  });
});

describe("the quota", () => {
  it.each([
    ["1Gi", 429_496_729],
    ["10Gi", 4_294_967_296],
    ["100Gi", 8_589_934_592],
    ["500M", 200_000_000],
    ["1", 1_048_576],
  ])("of a volume of %s is %d bytes", (size, bytes) => {
    expect(quotaBytes(cluster({ spec: { replicas: 3, storage: { size } } }))).toBe(bytes);
  });
});
