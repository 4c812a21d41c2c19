// What an UnsealConfig's status says of the CloudHSM cluster behind the key: one condition, and a few facts.
import type { Finding } from "#kube/conditions.ts";
import type { UnsealConfigStatus } from "../../api/unseal-config.ts";
import type { Machinery } from "../../servers/machinery.ts";

/** The condition: the worst warning gives the reason, all of them the message. */
export function hsmFinding({ cluster_id: id, state, warnings, error }: Machinery): Finding {
  const type = "HsmHealthy";
  const [worst] = warnings;
  const message = warnings.map((warning) => warning.message).join("; ");
  if (worst !== undefined) return { type, status: "False", reason: worst.reason, message };
  if (error !== undefined || state === undefined)
    return {
      type,
      status: "Unknown",
      reason: "ClusterUnknown",
      message: error?.message ?? `nothing is known of ${id} yet`,
    };
  return { type, status: "True", reason: "ClusterHealthy", message: `the cluster ${id} gives nothing to warn of` };
}

/** The facts; what was known before stays while nobody says anything. Times are cut to seconds, so that they stand still. */
export function hsmShown(
  machinery: Machinery | undefined,
  before: UnsealConfigStatus["hsm"],
): UnsealConfigStatus["hsm"] {
  if (machinery === undefined) return before;
  const { cluster_id: clusterId, state, active_hsms: activeHsms, backup_count: backups } = machinery;
  const newestBackup = newest(machinery);
  return {
    clusterId,
    ...(state === undefined ? {} : { state }),
    ...(activeHsms === undefined ? {} : { activeHsms }),
    ...(backups === undefined ? {} : { backups }),
    ...(newestBackup === undefined ? {} : { newestBackup: keptTime(newestBackup, before?.newestBackup) }),
  };
}

function newest({ looked_at: lookedAt, newest_backup_age_seconds: age }: Machinery): number | undefined {
  const at = Date.parse(lookedAt ?? "");
  return Number.isNaN(at) || age === undefined ? undefined : at - age * 1000;
}

/** Ages are whole seconds, so the same backup may seem to be a second younger at the next look. */
const SAME_MILLIS = 2000;

function keptTime(at: number, before: string | undefined): string {
  if (before !== undefined && Math.abs(Date.parse(before) - at) < SAME_MILLIS) return before;
  return new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
}
