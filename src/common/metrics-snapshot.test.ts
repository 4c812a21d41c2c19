import { describe, expect, it } from "vitest";
import { createMetrics } from "./metrics.ts";
import { countsOf, mergeMetrics, readMetrics, renderMetrics } from "./metrics-snapshot.ts";

function processOf(seconds: readonly number[], options: { unsealed: number; term: number }) {
  const metrics = createMetrics();
  const requests = metrics.counter("x_requests_total", "Requests.", ["worker"]);
  const duration = metrics.histogram("x_seconds", "Duration.", [0.1, 1]);
  metrics.gauge("x_queue", "Lines.", ["device"]).set({ device: "a" }, seconds.length);
  metrics.gaugeOf("x_unsealed", "Unsealed.", () => options.unsealed, "min");
  metrics.gaugeOf("x_term", "Term.", () => options.term, "max");
  requests.add({ worker: String(options.term) }, 2);
  requests.add({ worker: "all" });
  for (const value of seconds) duration.observe({}, value);
  return metrics.snapshot();
}

describe("metrics of several processes", () => {
  const one = processOf([0.05, 3], { unsealed: 1, term: 1 });
  const two = processOf([0.5], { unsealed: 0, term: 2 });

  it("are one: counters and histograms summed, gauges as they are declared", () => {
    const lines = renderMetrics(mergeMetrics([one, two])).split("\n");
    expect(lines.filter((line) => !line.startsWith("#") && line !== "")).toEqual([
      'x_requests_total{worker="1"} 2',
      'x_requests_total{worker="all"} 2',
      'x_requests_total{worker="2"} 2',
      'x_seconds_bucket{le="0.1"} 1',
      'x_seconds_bucket{le="1"} 2',
      'x_seconds_bucket{le="+Inf"} 3',
      "x_seconds_sum 3.55",
      "x_seconds_count 3",
      'x_queue{device="a"} 3',
      "x_unsealed 0",
      "x_term 2",
    ]);
  });

  it("keep the extremes of what was observed", () => {
    const [sample] = readMetrics(mergeMetrics([one, two])).samples;
    expect(sample?.sample).toMatchObject({ count: 3, min: 0.05, max: 3 });
  });

  it("survive a copy to another process and do not change what they were made of", () => {
    const before = renderMetrics(one);
    expect(renderMetrics(structuredClone(one))).toBe(before);
    mergeMetrics([one, two]);
    expect(renderMetrics(one)).toBe(before);
  });

  it("leave only their counts when the process has ended", () => {
    const kinds = new Set(countsOf(one).map(({ kind }) => kind));
    expect([...kinds]).toEqual(["counter", "histogram"]);
  });
});
