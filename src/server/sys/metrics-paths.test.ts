import { expect, it } from "vitest";
import { createMetrics, METRICS_CONTENT_TYPE } from "#common/metrics.ts";
import { requestOf } from "#test/kit/core.ts";
import { startInProcessServer } from "#test/kit/in-process-server.ts";

async function metricsOf(data: Record<string, string>, accept?: string) {
  const metrics = createMetrics();
  metrics.counter("x_total", "X.", ["a"]).add({ a: "b" });
  const { server, rootToken } = await startInProcessServer({ parts: { metrics } });
  const request = { ...requestOf(rootToken, "read", "sys/metrics", data), ...(accept && { headers: { accept } }) };
  const { status, contentType, body } = await server.serve(request);
  return { status, contentType, text: String(body) };
}

it("shows metrics as JSON without a format", async () => {
  for (const { status, contentType, text } of [await metricsOf({}), await metricsOf({ format: "json" })]) {
    expect([status, contentType]).toEqual([200, "application/json"]);
    const body = JSON.parse(text);
    expect(Object.keys(body)).toEqual(["Timestamp", "Gauges", "Points", "Counters", "Samples"]);
    expect(body.Counters).toEqual([expect.objectContaining({ Name: "x_total", Sum: 1, Labels: { a: "b" } })]);
  }
});

it("shows them for Prometheus where that is asked for", async () => {
  const scraper = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
  for (const answer of [await metricsOf({ format: "prometheus" }), await metricsOf({}, scraper)]) {
    expect([answer.status, answer.contentType]).toEqual([200, METRICS_CONTENT_TYPE]);
    expect(answer.text).toContain('x_total{a="b"} 1');
  }
});

it("refuses other formats", async () => {
  const { status, text } = await metricsOf({ format: "xml" });
  expect([status, JSON.parse(text).errors]).toEqual([
    400,
    ['metric response format "xml" unknown; use prometheus, or json (the default)'],
  ]);
});
