// What is warned of, and when it is not.
import { describe, expect, it } from "vitest";
import { type BackupFacts, type ClusterFacts, shownLook, warningsOf } from "./cluster-facts.ts";

const NOW = Date.UTC(2026, 0, 10);
const HOUR = 3_600_000;
const MAX_AGE = 48 * HOUR;
const hsm = (id: string, zone: string, state = "ACTIVE") => ({ id, zone, state, stateMessage: undefined });
const two = [hsm("hsm-1", "eu-west-1a"), hsm("hsm-2", "eu-west-1b")];
const cluster: ClusterFacts = {
  ...{ id: "cluster-1", state: "ACTIVE", stateMessage: "", hsmType: "hsm1.medium", sourceBackupId: undefined },
  ...{ hsms: two, zones: ["eu-west-1a", "eu-west-1b"], subnetIds: [], retentionDays: 90 },
};
const backup = (ageMillis: number, more: Partial<BackupFacts> = {}): BackupFacts => ({
  ...{ id: "backup-1", state: "READY", clusterId: "cluster-1", createdMillis: NOW - ageMillis, neverExpires: false },
  ...{ deletedMillis: undefined, sourceRegion: undefined, ...more },
});
const reasons = (part: Partial<ClusterFacts>, backups = [backup(HOUR)]) =>
  warningsOf({ cluster: { ...cluster, ...part }, backups, lookedMillis: NOW }, MAX_AGE).map(({ reason }) => reason);

describe("warnings", () => {
  it.each<[string, Partial<ClusterFacts>, readonly string[]]>([
    ["a cluster in two zones", {}, []],
    ["one that is being changed", { state: "UPDATE_IN_PROGRESS" }, []],
    ["a degraded cluster", { state: "DEGRADED" }, ["ClusterNotActive"]],
    ["one that was never initialised", { state: "UNINITIALIZED" }, ["ClusterNotActive"]],
    ["one HSM", { hsms: two.slice(1) }, ["OneHsmOnly"]],
    ["two in one zone", { hsms: [hsm("a", "z"), hsm("b", "z")] }, ["OneZoneOnly"]],
    ["no HSM", { hsms: [] }, ["NoActiveHsm"]],
    ["one that has failed", { hsms: [...two, hsm("hsm-3", "z", "DEGRADED")] }, ["HsmNotActive"]],
    [
      "one that is left and one that has failed",
      { hsms: [two[0] ?? hsm("a", "z"), hsm("b", "z", "DEGRADED")] },
      ["OneHsmOnly", "HsmNotActive"],
    ],
    ["one that is taken away", { hsms: [...two, hsm("hsm-3", "z", "DELETE_IN_PROGRESS")] }, []],
  ])("%s", (_, part, expected) => {
    expect(reasons(part)).toEqual(expected);
  });

  it("looks at the newest backup that is ready", () => {
    expect(reasons({}, [backup(MAX_AGE)])).toEqual([]);
    expect(reasons({}, [backup(MAX_AGE + 1)])).toEqual(["StaleBackup"]);
    expect(reasons({}, [backup(HOUR, { state: "PENDING_DELETION" }), backup(MAX_AGE + 1)])).toEqual(["StaleBackup"]);
    expect(reasons({}, [backup(MAX_AGE + 1), backup(HOUR)])).toEqual([]);
    expect(reasons({}, [backup(HOUR, { state: "CREATE_IN_PROGRESS" })])).toEqual(["NoBackup"]);
    expect(reasons({}, [])).toEqual(["NoBackup"]);
  });

  it("says what to do", () => {
    const [warning] = warningsOf({ cluster, backups: [backup(100 * HOUR)], lookedMillis: NOW }, MAX_AGE);
    expect(warning?.message).toBe(
      "the newest backup, backup-1, is 100 hours old and should be at most 48: adding or removing an HSM makes one",
    );
  });
});

it("shows the newest ten backups and counts the rest", () => {
  const backups = Array.from({ length: 12 }, (_, i) => backup(i * HOUR, { id: `backup-${i}` }));
  const shown = shownLook({ cluster, backups, lookedMillis: NOW });
  expect(shown).toMatchObject({
    ...{ cluster_id: "cluster-1", state: "ACTIVE", active_hsms: 2, zones: ["eu-west-1a", "eu-west-1b"] },
    ...{
      backup_count: 12,
      backup_retention_days: 90,
      newest_backup_age_seconds: 0,
      looked_at: "2026-01-10T00:00:00.000Z",
    },
  });
  expect(shown["backups"]).toHaveLength(10);
});
