import { describe, expect, it } from "vitest";
import { createMetrics, SERIES_MAX } from "./metrics.ts";

describe("metrics", () => {
  it("writes counters, gauges and histograms in the text format", () => {
    const metrics = createMetrics();
    const requests = metrics.counter("x_requests_total", "Requests.", ["result"]);
    const depth = metrics.gauge("x_depth", "Depth.");
    const duration = metrics.histogram("x_seconds", "Duration.", [0.1, 1], ["op"]);
    metrics.gaugeOf("x_now", "Now.", () => 7);
    requests.add({ result: "ok" });
    requests.add({ result: "ok" }, 2);
    depth.set({}, 5);
    duration.observe({ op: "read" }, 0.1);
    duration.observe({ op: "read" }, 3);
    expect(metrics.render()).toBe(`# HELP x_requests_total Requests.
# TYPE x_requests_total counter
x_requests_total{result="ok"} 3
# HELP x_depth Depth.
# TYPE x_depth gauge
x_depth 5
# HELP x_seconds Duration.
# TYPE x_seconds histogram
x_seconds_bucket{op="read",le="0.1"} 1
x_seconds_bucket{op="read",le="1"} 1
x_seconds_bucket{op="read",le="+Inf"} 2
x_seconds_sum{op="read"} 3.1
x_seconds_count{op="read"} 2
# HELP x_now Now.
# TYPE x_now gauge
x_now 7
`);
  });
  it("shows a metric without labels before anything happened", () => {
    const metrics = createMetrics();
    metrics.counter("x_total", "X.");
    expect(metrics.render()).toContain("\nx_total 0\n");
  });
  it("escapes label values", () => {
    const metrics = createMetrics();
    metrics.counter("x_total", "X.", ["a"]).add({ a: 'q"\\\n' });
    expect(metrics.render()).toContain('x_total{a="q\\"\\\\\\n"} 1');
  });
  it("counts under other what is beyond the limit of series", () => {
    const metrics = createMetrics();
    const counter = metrics.counter("x_total", "X.", ["a"]);
    for (let i = 0; i < SERIES_MAX + 2; i++) counter.add({ a: `v${i}` });
    expect(metrics.render()).toContain(`x_total{a="v${SERIES_MAX - 1}"} 1`);
    expect(metrics.render()).toContain('x_total{a="other"} 2');
  });
  it("drops a series whose subject is gone", () => {
    const metrics = createMetrics();
    const gauge = metrics.gauge("x", "X.", ["a"]);
    gauge.set({ a: "b" }, 1);
    gauge.remove({ a: "b" });
    expect(metrics.render()).not.toContain("x{");
  });
  it("refuses a second declaration, a malformed name and a label that would publish a secret", () => {
    const metrics = createMetrics();
    metrics.counter("x_total", "X.");
    expect(() => metrics.gauge("x_total", "X.")).toThrow("twice");
    expect(() => metrics.gauge("X-y", "X.")).toThrow("no name");
    expect(() => metrics.gauge("y", "Y.", ["token"])).toThrow("secret");
  });
  it("describes what was declared", () => {
    const metrics = createMetrics();
    metrics.gauge("x", "X.", ["a"]);
    expect(metrics.describe()).toEqual([{ name: "x", kind: "gauge", help: "X.", labels: ["a"] }]);
  });
});
