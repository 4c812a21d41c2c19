// The server's own metrics, declared once.
import type { Counter, Metrics } from "#common/metrics.ts";
import { declareAuditMetrics } from "./audit/audit-metrics.ts";
import type { CoreServices } from "./core/request-state.ts";
import type { SealWatch } from "./core/seal-watch.ts";
import { declareProcessUse, declareWorkerRequests } from "./workers/worker-metrics.ts";

/** Metrics that whoever runs the server keeps counting. */
export interface ServerMetrics {
  readonly requests: Counter<"worker">;
}

export function registerServerMetrics(metrics: Metrics, services: CoreServices, watch: SealWatch): ServerMetrics {
  services.audit.countBy(declareAuditMetrics(metrics));
  services.sweeps.countBy(metrics);
  const isUnsealed = () => (services.barrier.isSealed ? 0 : 1);
  metrics.gaugeOf("coffer_unsealed", "1 while this node is unsealed, all its workers.", isUnsealed, "min");
  const troubles = () => services.node.troubles.length;
  metrics.gaugeOf("coffer_seal_troubles", "Seals that did not open at the last try.", troubles, "max");
  declareSealMetrics(metrics, watch);
  const term = () => (services.barrier.isSealed ? 0 : services.barrier.keyStatus().term);
  metrics.gaugeOf("coffer_barrier_term", "Term of the barrier's current key.", term, "max");
  const terms = () => (services.barrier.isSealed ? 0 : services.barrier.terms().length);
  metrics.gaugeOf("coffer_barrier_terms", "Keys in the barrier's keyring, old ones included.", terms, "max");
  const damaged = () => services.barrier.damagedReads;
  metrics.gaugeOf("coffer_barrier_damaged_reads", "Reads since the start that met a damaged record.", damaged);
  declareProcessUse(metrics);
  return { requests: declareWorkerRequests(metrics) };
}

/** Of seals that open by themselves; each worker probes them. */
function declareSealMetrics(metrics: Metrics, watch: SealWatch): void {
  const healthy = metrics.gauge("coffer_seal_healthy", "1 while the seal's probes succeed.", ["seal"], "min");
  const latency = metrics.gauge("coffer_seal_probe_seconds", "Time of the seal's last good probe.", ["seal"], "max");
  const faults = metrics.counter("coffer_seal_probe_faults_total", "Probes of the seal that failed.", [
    "seal",
    "reason",
  ]);
  watch.onProbe(({ name: seal, isHealthy, latencyMillis, fault }) => {
    healthy.set({ seal }, isHealthy ? 1 : 0);
    if (latencyMillis !== undefined) latency.set({ seal }, latencyMillis / 1000);
    if (fault !== undefined) faults.add({ seal, reason: fault });
  });
}
