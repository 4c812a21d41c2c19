// The injector's own metrics, declared once: for the running program and for the reference pages.
import { DURATION_BUCKETS_SECONDS, type Metrics } from "#common/metrics.ts";
import type { Outcome } from "./review.ts";

/** Declares them; what comes back counts a review that took so many seconds. `certificateEnds`: in Unix milliseconds. */
export function declareInjectorMetrics(
  metrics: Metrics,
  certificateEnds: () => number | undefined,
): (outcome: Outcome, seconds: number) => void {
  const reviews = metrics.counter("coffer_injector_reviews_total", "Pods reviewed, by outcome.", ["outcome"]);
  const seconds = metrics.histogram(
    "coffer_injector_review_seconds",
    "How long a review took, in seconds.",
    DURATION_BUCKETS_SECONDS,
  );
  metrics.gaugeOf(
    "coffer_injector_certificate_expiry_seconds",
    "When the serving certificate ends, in Unix time.",
    () => Math.floor((certificateEnds() ?? 0) / 1000),
  );
  return (outcome, took) => {
    reviews.add({ outcome });
    seconds.observe({}, took);
  };
}

/** Declares what is told of pods without injection; what comes back counts an eviction. */
export function declareMissedMetrics(metrics: Metrics, count: () => number): () => void {
  metrics.gaugeOf(
    "coffer_injector_missed_pods",
    "Pods that ask for secrets and have no agent; 0 on replicas that do not look for them.",
    count,
  );
  const evictions = metrics.counter("coffer_injector_evictions_total", "Such pods that were evicted.");
  return () => evictions.add({});
}
