// The server's own metrics, declared once.
import type { Metrics } from "#common/metrics.ts";
import { declareAuditMetrics } from "./audit/audit-metrics.ts";
import type { CoreServices } from "./core/request-state.ts";

export function registerServerMetrics(metrics: Metrics, services: CoreServices): void {
  services.audit.countBy(declareAuditMetrics(metrics));
  metrics.gaugeOf("coffer_unsealed", "1 while this node is unsealed.", () => (services.barrier.isSealed ? 0 : 1));
  metrics.gaugeOf(
    "coffer_seal_troubles",
    "Seals that did not open at the last try.",
    () => services.node.troubles.length,
  );
  metrics.gaugeOf("coffer_barrier_term", "Term of the barrier's current key.", () =>
    services.barrier.isSealed ? 0 : services.barrier.keyStatus().term,
  );
  metrics.gaugeOf("process_resident_memory_bytes", "Resident memory.", () => process.memoryUsage.rss());
  metrics.gaugeOf("process_cpu_seconds_total", "CPU time used.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
}
