import { describe, expect, it } from "vitest";
import { createMetrics } from "./metrics.ts";
import { metricsSummary } from "./metrics-summary.ts";

const AT = Date.UTC(2026, 0, 2, 3, 4, 5, 600);

describe("the JSON form of metrics", () => {
  it("has the members of go-metrics' summary", () => {
    const metrics = createMetrics();
    const requests = metrics.counter("x_requests_total", "Requests.", ["result"]);
    const duration = metrics.histogram("x_seconds", "Duration.", [1], ["op"]);
    metrics.gauge("x_depth", "Depth.").set({}, 5);
    metrics.gaugeOf("x_a", "First by name.", () => 7);
    requests.add({ result: "ok" }, 3);
    requests.add({ result: 'no "way"' });
    for (const seconds of [1, 2, 6]) duration.observe({ op: "read" }, seconds);
    expect(metricsSummary(metrics.read(), AT, 10)).toEqual({
      Timestamp: "2026-01-02 03:04:05 +0000 UTC",
      Gauges: [
        { Name: "x_a", Value: 7, Labels: {} },
        { Name: "x_depth", Value: 5, Labels: {} },
      ],
      Points: [],
      Counters: [
        { ...counted("x_requests_total", 1), Labels: { result: 'no "way"' } },
        { ...counted("x_requests_total", 3), Labels: { result: "ok" } },
      ],
      Samples: [
        {
          ...{ Name: "x_seconds", Count: 3, Rate: 0.9, Sum: 9, Min: 1, Max: 6, Mean: 3 },
          ...{ Stddev: Math.sqrt(7), Labels: { op: "read" } },
        },
      ],
    });
  });

  it("shows what has not happened yet as zeros", () => {
    const metrics = createMetrics();
    metrics.counter("x_total", "X.");
    expect(metricsSummary(metrics.read(), AT, 0)["Counters"]).toEqual([
      { Name: "x_total", Count: 0, Rate: 0, Sum: 0, Min: 0, Max: 0, Mean: 0, Stddev: 0, Labels: {} },
    ]);
  });
});

function counted(name: string, by: number) {
  return { Name: name, Count: 1, Rate: by / 10, Sum: by, Min: by, Max: by, Mean: by, Stddev: 0 };
}
