// The metrics as the JSON document that clients of Vault know from go-metrics' in-memory sink: gauges, counters and
// samples with count, sum, rate and deviation. Where that sink sums over ten seconds, everything here is since the
// process started: no window, so that two readings of a counter can be subtracted.
// Members: https://pkg.go.dev/github.com/hashicorp/go-metrics#MetricsSummary
import type { JsonObject } from "./json.ts";

/** What was counted or observed, without the single values. */
export interface Aggregate {
  count: number;
  sum: number;
  sumOfSquares: number;
  min: number;
  max: number;
}

interface Reading {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface MetricReadings {
  readonly gauges: (Reading & { readonly value: number })[];
  readonly counters: (Reading & { readonly sample: Aggregate })[];
  readonly samples: (Reading & { readonly sample: Aggregate })[];
}

export function newAggregate(): Aggregate {
  return { count: 0, sum: 0, sumOfSquares: 0, min: 0, max: 0 };
}

/** Adds a value; changes the aggregate that is given and returns it. */
export function noteSample(aggregate: Aggregate, value: number): Aggregate {
  aggregate.min = aggregate.count === 0 ? value : Math.min(aggregate.min, value);
  aggregate.max = aggregate.count === 0 ? value : Math.max(aggregate.max, value);
  aggregate.count++;
  aggregate.sum += value;
  aggregate.sumOfSquares += value * value;
  return aggregate;
}

/** The document. `seconds`: how long the process has been counting, for the rates. */
export function metricsSummary(readings: MetricReadings, nowMillis: number, seconds: number): JsonObject {
  return {
    Timestamp: timestamp(nowMillis),
    Gauges: readings.gauges
      .toSorted(byName)
      .map(({ name, labels, value }) => ({ Name: name, Value: value, Labels: labels })),
    Points: [],
    Counters: sampled(readings.counters, seconds),
    Samples: sampled(readings.samples, seconds),
  };
}

/** As Go prints a time in UTC: 2026-01-02 03:04:05 +0000 UTC. */
function timestamp(millis: number): string {
  return `${new Date(millis).toISOString().slice(0, 19).replace("T", " ")} +0000 UTC`;
}

function sampled(readings: MetricReadings["samples"], seconds: number): readonly JsonObject[] {
  return readings.toSorted(byName).map(({ name, labels, sample }) => ({
    Name: name,
    Count: sample.count,
    Rate: seconds > 0 ? sample.sum / seconds : 0,
    Sum: sample.sum,
    Min: sample.min,
    Max: sample.max,
    Mean: sample.count > 0 ? sample.sum / sample.count : 0,
    Stddev: deviation(sample),
    Labels: labels,
  }));
}

/** Of the sample (n - 1). Rounding can bring the difference below 0. */
function deviation({ count, sum, sumOfSquares }: Aggregate): number {
  if (count < 2) return 0;
  return Math.sqrt(Math.max(count * sumOfSquares - sum * sum, 0) / (count * (count - 1)));
}

function byName(a: Reading, b: Reading): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  const [left, right] = [JSON.stringify(a.labels), JSON.stringify(b.labels)];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
