// What audit devices count, by the path of the device.
import type { Counter, Gauge, Metrics } from "#common/metrics.ts";

export interface AuditMetrics {
  readonly lines: Counter<"device">;
  readonly failures: Counter<"device">;
  readonly lost: Counter<"device">;
  readonly queue: Gauge<"device">;
  readonly answering: Gauge<"device">;
}

export function declareAuditMetrics(metrics: Metrics): AuditMetrics {
  return {
    lines: metrics.counter("coffer_audit_lines_total", "Lines that an audit device accepted.", ["device"]),
    failures: metrics.counter(
      "coffer_audit_failures_total",
      "Writes that an audit device refused or that took too long.",
      ["device"],
    ),
    lost: metrics.counter("coffer_audit_lost_lines_total", "Lines that found the queue of a device full.", ["device"]),
    queue: metrics.gauge("coffer_audit_queue_lines", "Lines that wait for an audit device.", ["device"]),
    answering: metrics.gauge("coffer_audit_device_up", "1 while an audit device accepts lines.", ["device"], "min"),
  };
}
