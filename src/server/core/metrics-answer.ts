// sys/metrics in the form that a client asks for: JSON unless it says that it is Prometheus, as Vault's API has it. For
// the path itself and for listeners that show the metrics without a token.
import { CofferError } from "#common/errors.ts";
import { METRICS_CONTENT_TYPE } from "#common/metrics.ts";
import { readMetrics, renderMetrics } from "#common/metrics-snapshot.ts";
import { metricsSummary } from "#common/metrics-summary.ts";
import { jsonAnswer } from "./encode.ts";
import type { WholeServer } from "./siblings.ts";

export interface MetricsRequest {
  /** The parameter `format`; "" without. */
  readonly format: string;
  /** The header `Accept`; "" without. */
  readonly accept: string;
}

/** What scrapers of Prometheus say that they take, whatever their configuration puts into the query. */
const SCRAPER = /application\/openmetrics-text|text\/plain;\s*version=0\.0\.4/;

/** Throws `invalid_request` for a format that there is not. */
export async function metricsAnswer(
  whole: Pick<WholeServer, "metrics" | "countingSeconds">,
  { format, accept }: MetricsRequest,
  nowMillis: number,
): Promise<{ readonly contentType: string; readonly body: string }> {
  if (format !== "" && format !== "prometheus" && format !== "json")
    throw new CofferError(
      "invalid_request",
      `metric response format ${JSON.stringify(format)} unknown; use prometheus, or json (the default)`,
    );
  if (format === "prometheus" || (format === "" && SCRAPER.test(accept)))
    return { contentType: METRICS_CONTENT_TYPE, body: renderMetrics(await whole.metrics()) };
  const readings = readMetrics(await whole.metrics());
  const { contentType, body } = jsonAnswer(200, metricsSummary(readings, nowMillis, whole.countingSeconds()));
  return { contentType, body: String(body) };
}
