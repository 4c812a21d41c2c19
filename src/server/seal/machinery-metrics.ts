// Metrics of the machines behind seals: HSMs and their backups. The seals say how they are after each look of their own.
import type { Metrics } from "#common/metrics.ts";
import type { MachineryState } from "./seal-types.ts";

/** Declares them; the function takes the news. */
export function declareMachineryMetrics(metrics: Metrics): (state: MachineryState) => void {
  const gauge = (name: string, help: string, merge: "min" | "max") => metrics.gauge(name, help, ["seal"], merge);
  const known = gauge("coffer_hsm_cluster_known", "1 while the cluster behind the seal can be looked at.", "min");
  const warnings = gauge("coffer_hsm_warnings", "Warnings about the cluster behind the seal.", "max");
  const active = gauge("coffer_hsm_active", "HSMs of the cluster behind the seal that serve.", "min");
  const backupAge = gauge("coffer_hsm_backup_age_seconds", "Age of the cluster's newest usable backup.", "max");
  return (state) => {
    const { seal } = state;
    known.set({ seal }, state.isKnown ? 1 : 0);
    warnings.set({ seal }, state.warnings);
    if (state.active !== undefined) active.set({ seal }, state.active);
    if (state.backupAgeMillis !== undefined) backupAge.set({ seal }, state.backupAgeMillis / 1000);
    else backupAge.remove({ seal });
  };
}
