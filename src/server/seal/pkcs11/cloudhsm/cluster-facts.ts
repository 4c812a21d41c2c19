// What AWS says of a CloudHSM cluster and its backups, as the rest of Coffer knows it (CloudHSM v2 API reference: Cluster,
// Hsm, Backup), and what there is to warn of. Pure: time is an argument.
import type { Millis } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";

export interface HsmFacts {
  readonly id: string;
  readonly zone: string;
  /** ACTIVE, CREATE_IN_PROGRESS, DEGRADED, … */
  readonly state: string;
  readonly stateMessage: string | undefined;
}

export interface BackupFacts {
  readonly id: string;
  /** READY, CREATE_IN_PROGRESS, PENDING_DELETION, … */
  readonly state: string;
  readonly clusterId: string | undefined;
  readonly createdMillis: Millis | undefined;
  readonly neverExpires: boolean;
  /** When a backup that was deleted is gone for good. */
  readonly deletedMillis: Millis | undefined;
  readonly sourceRegion: string | undefined;
}

export interface ClusterFacts {
  readonly id: string;
  /** ACTIVE, DEGRADED, UPDATE_IN_PROGRESS, … */
  readonly state: string;
  readonly stateMessage: string | undefined;
  readonly hsmType: string;
  readonly sourceBackupId: string | undefined;
  readonly hsms: readonly HsmFacts[];
  /** Zones that have a subnet of the cluster. */
  readonly zones: readonly string[];
  /** Those subnets, in the order of the zones. */
  readonly subnetIds: readonly string[];
  /** After how many days backups are deleted; undefined when AWS does not say. */
  readonly retentionDays: number | undefined;
}

/** What the last look found. */
export interface ClusterLook {
  readonly cluster: ClusterFacts;
  /** The newest first. */
  readonly backups: readonly BackupFacts[];
  readonly lookedMillis: Millis;
}

export interface Warning {
  readonly reason:
    | "ClusterNotActive"
    | "NoActiveHsm"
    | "OneHsmOnly"
    | "OneZoneOnly"
    | "HsmNotActive"
    | "NoBackup"
    | "StaleBackup";
  /** A sentence that says what to do. */
  readonly message: string;
}

const HOUR_MILLIS = 3_600_000;
/** Those that end in ACTIVE by themselves, and in which the HSMs serve. */
const SERVING_STATES = ["ACTIVE", "UPDATE_IN_PROGRESS", "MODIFY_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"];
const HSM_PASSING = ["DELETE_IN_PROGRESS", "DELETED"];

/** What an administrator should know, the worst first. */
export function warningsOf(
  { cluster, backups, lookedMillis }: ClusterLook,
  backupMaxAgeMillis: Millis,
): readonly Warning[] {
  return [
    ...clusterWarnings(cluster),
    ...hsmWarnings(cluster),
    ...backupWarnings(backups, lookedMillis, backupMaxAgeMillis),
  ];
}

function clusterWarnings({ id, state, stateMessage }: ClusterFacts): readonly Warning[] {
  if (SERVING_STATES.includes(state)) return [];
  const why = stateMessage === undefined || stateMessage === "" ? "" : ` (${stateMessage})`;
  return [{ reason: "ClusterNotActive", message: `the cluster ${id} is ${state}${why}: look at it in CloudHSM` }];
}

function hsmWarnings(cluster: ClusterFacts): readonly Warning[] {
  const present = cluster.hsms.filter(({ state }) => !HSM_PASSING.includes(state));
  const active = present.filter(({ state }) => state === "ACTIVE");
  const zones = new Set(active.map(({ zone }) => zone));
  const troubled = present
    .filter(({ state }) => state !== "ACTIVE")
    .map(({ id, zone, state }): Warning => {
      return { reason: "HsmNotActive", message: `the HSM ${id} in ${zone} is ${state}: replace it if it stays so` };
    });
  return [...redundancy(cluster.id, active.length, zones), ...troubled];
}

function redundancy(id: string, active: number, zones: ReadonlySet<string>): readonly Warning[] {
  if (active === 0)
    return [
      { reason: "NoActiveHsm", message: `the cluster ${id} has no active HSM: nothing is wrapped or opened by it` },
    ];
  if (active === 1)
    return [{ reason: "OneHsmOnly", message: `the cluster ${id} has one active HSM only: add one in a second zone` }];
  if (zones.size === 1)
    return [
      {
        reason: "OneZoneOnly",
        message: `all HSMs of the cluster ${id} are in ${[...zones].join()}: add one in a second zone`,
      },
    ];
  return [];
}

function backupWarnings(backups: readonly BackupFacts[], now: Millis, maxAge: Millis): readonly Warning[] {
  const newest = newestReady(backups);
  if (newest?.createdMillis === undefined)
    return [{ reason: "NoBackup", message: "there is no usable backup: without one the key is lost with its HSMs" }];
  const age = now - newest.createdMillis;
  if (age <= maxAge) return [];
  const [has, wanted] = [age, maxAge].map((millis) => Math.floor(millis / HOUR_MILLIS));
  const message = `the newest backup, ${newest.id}, is ${has} hours old and should be at most ${wanted}: adding or removing an HSM makes one`;
  return [{ reason: "StaleBackup", message }];
}

/** The newest backup that a cluster can be made of. */
export function newestReady(backups: readonly BackupFacts[]): BackupFacts | undefined {
  return backups
    .filter(({ state, createdMillis }) => state === "READY" && createdMillis !== undefined)
    .toSorted((a, b) => (b.createdMillis ?? 0) - (a.createdMillis ?? 0))[0];
}

/** More are counted and not listed. */
const BACKUPS_SHOWN_MAX = 10;

/** As status shows it. */
export function shownLook(look: ClusterLook): JsonObject {
  const { cluster, backups, lookedMillis } = look;
  const newest = newestReady(backups)?.createdMillis;
  return {
    ...{ cluster_id: cluster.id, state: cluster.state, hsm_type: cluster.hsmType, zones: [...cluster.zones] },
    ...(cluster.stateMessage !== undefined && cluster.stateMessage !== "" && { state_message: cluster.stateMessage }),
    hsms: cluster.hsms.map(({ id, zone, state }) => ({ id, zone, state })),
    active_hsms: cluster.hsms.filter(({ state }) => state === "ACTIVE").length,
    ...(cluster.retentionDays !== undefined && { backup_retention_days: cluster.retentionDays }),
    ...(newest !== undefined && { newest_backup_age_seconds: Math.max(0, Math.floor((lookedMillis - newest) / 1000)) }),
    backup_count: backups.length,
    backups: backups.slice(0, BACKUPS_SHOWN_MAX).map(shownBackup),
    looked_at: timeText(lookedMillis),
  };
}

export function shownBackup(backup: BackupFacts): JsonObject {
  const { id, state, createdMillis, deletedMillis, neverExpires, sourceRegion } = backup;
  return {
    ...{ id, state, never_expires: neverExpires },
    ...(createdMillis !== undefined && { created: timeText(createdMillis) }),
    ...(deletedMillis !== undefined && { deleted_at: timeText(deletedMillis) }),
    ...(sourceRegion !== undefined && { source_region: sourceRegion }),
  };
}

function timeText(millis: Millis): string {
  return new Date(millis).toISOString();
}
