// The metrics of the agent's proxy, declared once: for the running program and for the reference pages.
import type { Metrics } from "#common/metrics.ts";

export interface ProxyMetrics {
  /** "hit": from the cache; "forwarded"; "failed": no answer of the server; "refused": by the agent. */
  request(result: "hit" | "forwarded" | "failed" | "refused"): void;
}

/** Declares them. `entries`: how many answers are kept. */
export function declareProxyMetrics(metrics: Metrics, entries: () => number): ProxyMetrics {
  const requests = metrics.counter("coffer_agent_proxy_requests_total", "Requests to the agent's proxy, by result.", [
    "result",
  ]);
  metrics.gaugeOf("coffer_agent_cache_entries", "Answers that the agent keeps and renews.", entries);
  return { request: (result) => requests.add({ result }) };
}
