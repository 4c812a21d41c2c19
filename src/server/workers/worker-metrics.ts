// What the supervisor counts itself, and what tells the workers apart. Declared once.
import type { Counter, Gauge, Metrics } from "#common/metrics.ts";

export interface SupervisorMetrics {
  readonly restarts: Counter;
  readonly workers: Gauge;
}

export function declareSupervisorMetrics(metrics: Metrics): SupervisorMetrics {
  return {
    workers: metrics.gauge("coffer_workers", "Worker processes that serve."),
    restarts: metrics.counter("coffer_worker_restarts_total", "Worker processes that ended and were started again."),
  };
}

/** Requests by the worker that served them: "1" in a server of one process. */
export function declareWorkerRequests(metrics: Metrics): Counter<"worker"> {
  return metrics.counter("coffer_worker_requests_total", "Requests by the worker process that served them.", [
    "worker",
  ]);
}

/** What this process takes of the machine; of a server with several, all of them together. */
export function declareProcessUse(metrics: Metrics): void {
  metrics.gaugeOf("process_resident_memory_bytes", "Resident memory.", () => process.memoryUsage.rss());
  metrics.gaugeOf("process_cpu_seconds_total", "CPU time used.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
}
