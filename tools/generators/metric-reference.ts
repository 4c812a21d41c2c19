// The page of metrics, from what each program declares.
import { declareProxyMetrics } from "#agent/proxy/proxy-metrics.ts";
import { createMetrics, type Metrics } from "#common/metrics.ts";
import { declareInjectorMetrics, declareMissedMetrics } from "#injector/injector-metrics.ts";
import { declareControllerMetrics } from "#kube/controller.ts";
import { declareLeadershipMetric, declareQueueMetric } from "#operator/operator-metrics.ts";
import { declareMachineryMetrics } from "#server/seal/machinery-metrics.ts";
import { declareSealWrapMetrics } from "#server/seal-wrap/seal-wrap-metrics.ts";
import { registerServerMetrics } from "#server/server-metrics.ts";
import { registerStorageMetrics } from "#server/storage/storage-metrics.ts";
import { declareSupervisorMetrics } from "#server/workers/worker-metrics.ts";
import { assembleForDescription } from "./assembled.ts";
import type { Generator } from "./generator.ts";
import { pageHead, table } from "./markdown.ts";

const INTRODUCTION = `The server answers them at \`/v1/sys/metrics\` to a token that may read that path, with \`?format=prometheus\` (or the \`Accept\` header of a scraper) in the Prometheus text format, else as JSON in the form of go-metrics, where counters and samples are since the start of the server (its worker processes are one here: counters and histograms are summed, gauges are the sum, the least or the greatest, whichever means something); operator and injector answer them, in the text format, at \`/metrics\` of their health port; an agent with a proxy answers its own at \`/agent/v1/metrics\` of its listener. No label carries anything secret, and series are bounded.

`;

function section(title: string, declare: (metrics: Metrics) => void): string {
  const metrics = createMetrics();
  declare(metrics);
  const rows = metrics
    .describe()
    .map(({ name, kind, labels, help }) => [`\`${name}\``, kind, labels.map((l) => `\`${l}\``).join(", "), help]);
  return `## ${title}\n\n${table(["Metric", "Kind", "Labels", "Meaning"], rows)}`;
}

function declareOperatorMetrics(metrics: Metrics): void {
  declareLeadershipMetric(metrics, () => false);
  declareQueueMetric(metrics, () => 0);
  declareControllerMetrics(metrics);
}

function page(): string {
  const { services, sealWatch, sealWrap } = assembleForDescription().server;
  const sections = [
    section("Server", (metrics) => {
      registerServerMetrics(metrics, services, sealWatch);
      declareSealWrapMetrics(metrics, sealWrap);
      registerStorageMetrics(metrics, {});
      declareMachineryMetrics(metrics);
    }),
    section("Server with several workers, besides", declareSupervisorMetrics),
    section("Operator", declareOperatorMetrics),
    section("Injector", (metrics) => {
      declareInjectorMetrics(metrics, () => undefined);
      declareMissedMetrics(metrics, () => 0);
    }),
    section("Agent", (metrics) => declareProxyMetrics(metrics, () => 0)),
  ];
  return `${pageHead("Metrics", "what the programs declare")}${INTRODUCTION}${sections.join("\n")}`;
}

export const metricReferenceGenerator: Generator = {
  name: "metric-reference",
  files: () => new Map([["docs/reference/metrics.md", page()]]),
};
