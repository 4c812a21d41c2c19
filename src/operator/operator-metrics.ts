// The operator's own metrics, declared once: for the running program and for the reference pages. Those of its
// controllers are in kube/controller.ts.
import type { Metrics } from "#common/metrics.ts";

export function declareLeadershipMetric(metrics: Metrics, isLeader: () => boolean): void {
  metrics.gaugeOf("coffer_operator_leader", "1 on the replica that works.", () => (isLeader() ? 1 : 0));
}

export function declareQueueMetric(metrics: Metrics, length: () => number): void {
  metrics.gaugeOf("coffer_operator_queue_length", "Objects that wait for their turn.", length);
}
