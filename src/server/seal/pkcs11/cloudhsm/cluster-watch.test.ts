// Looking at the cluster in the background: what is kept, what the log is told, and that nothing throws.
import { expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { createLog } from "#common/log.ts";
import type { MachineryState } from "../../seal-types.ts";
import type { CloudHsmConfig } from "./cloudhsm-config.ts";
import type { ClusterFacts, ClusterLook } from "./cluster-facts.ts";
import { ClusterWatch } from "./cluster-watch.ts";
import { ControlPlaneError } from "./control-plane-error.ts";

const config: CloudHsmConfig = {
  ...{ clusterId: "cluster-1", region: "eu-west-1", backupMaxAgeMillis: 48 * 3_600_000 },
  credentials: { kind: "ambient" },
};
const hsm = (zone: string) => ({ id: `hsm-${zone}`, zone, state: "ACTIVE", stateMessage: undefined });
const cluster: ClusterFacts = {
  ...{ id: "cluster-1", state: "ACTIVE", stateMessage: undefined, hsmType: "hsm1.medium", sourceBackupId: undefined },
  ...{ hsms: [hsm("a"), hsm("b")], zones: ["a", "b"], subnetIds: [], retentionDays: 90 },
};

function setUp() {
  const clock = new FakeClock();
  const lines: string[] = [];
  const noted: MachineryState[] = [];
  const write = (text: string) => void lines.push(text);
  const log = createLog({ level: "info", format: "text", write, now: () => clock.now() });
  const state: { answer: ClusterFacts | ControlPlaneError | "never"; looks: number; closed: boolean } = {
    ...{ answer: cluster, looks: 0, closed: false },
  };
  const look = async (): Promise<ClusterLook> => {
    state.looks++;
    if (state.answer === "never") return new Promise(() => {});
    if (state.answer instanceof ControlPlaneError) throw state.answer;
    const backup = { id: "backup-1", state: "READY", clusterId: "cluster-1", createdMillis: clock.now() - 3_600_000 };
    const backups = [{ ...backup, neverExpires: false, deletedMillis: undefined, sourceRegion: undefined }];
    return { cluster: state.answer, backups, lookedMillis: clock.now() };
  };
  const close = async () => {
    state.closed = true;
  };
  const background = { log, noteMachinery: (one: MachineryState) => void noted.push(one) };
  const watch = new ClusterWatch({ seal: "hsm", plane: { look, config, close }, clock, background, random: () => 0.5 });
  return { clock, lines, noted, state, watch };
}

it("looks at once and every five minutes, until it is closed", async () => {
  const { clock, state, watch } = setUp();
  watch.start();
  watch.start();
  await clock.advance(0);
  expect(state.looks).toBe(1);
  await clock.advance(299_999);
  expect(state.looks).toBe(1);
  await clock.advance(1);
  expect(state.looks).toBe(2);
  await watch.close();
  await clock.advance(3_600_000);
  expect(state).toMatchObject({ looks: 2, closed: true });
});

it("ends at once while a look hangs", async () => {
  const { state, watch } = setUp();
  state.answer = "never";
  watch.start();
  await watch.close();
  expect(state).toMatchObject({ looks: 1, closed: true });
  expect(watch.report()).not.toHaveProperty("error");
});

it("contacts nothing before it is started", async () => {
  const { clock, state, watch } = setUp();
  await clock.advance(3_600_000);
  expect(state.looks).toBe(0);
  expect(watch.report()).toEqual({ kind: "cloudhsm", region: "eu-west-1", cluster_id: "cluster-1", warnings: [] });
  await watch.close();
});

it("tells changes once, and keeps what it knew while the API does not answer", async () => {
  const { lines, noted, state, watch } = setUp();
  await watch.lookNow();
  await watch.lookNow();
  expect(lines).toEqual([]);
  state.answer = { ...cluster, hsms: [hsm("a")] };
  await watch.lookNow();
  await watch.lookNow();
  expect(lines.join("")).toMatch(/has changed[\s\S]*has one active HSM only[^\n]*OneHsmOnly[^\n]*\n$/);
  expect(lines).toHaveLength(2);
  expect(noted.at(-1)).toEqual({
    ...{ seal: "hsm", warnings: 1, isKnown: true, active: 1 },
    backupAgeMillis: 3_600_000,
  });
  state.answer = new ControlPlaneError("AccessDenied", "AWS denies it");
  await watch.lookNow();
  await watch.lookNow();
  expect(lines).toHaveLength(3);
  expect(watch.report()).toMatchObject({
    ...{ active_hsms: 1, warnings: [{ reason: "OneHsmOnly" }] },
    error: { reason: "AccessDenied", message: "AWS denies it" },
  });
  expect(noted.at(-1)).toMatchObject({ isKnown: false, active: 1 });
  state.answer = cluster;
  await watch.lookNow();
  expect(lines.slice(3).join("")).toMatch(/answers again[\s\S]*has changed[\s\S]*a warning is over/);
  expect(watch.report()).not.toHaveProperty("error");
  await watch.close();
});
