// What metrics say at one moment, as data that can be sent to another process: written out in the Prometheus text format
// or given as the numbers of the JSON form, and merged when several processes are one server to whoever asks.
// Format: https://prometheus.io/docs/instrumenting/exposition_formats/
import { type Aggregate, type MetricReadings, newAggregate } from "./metrics-summary.ts";

/** How the values of several processes become one; counters and histograms are always summed. */
export type GaugeMerge = "sum" | "max" | "min";

/** How many fell into each bucket and into none of them. */
export interface Distribution {
  readonly counts: readonly number[];
  readonly sample: Aggregate;
}

interface Series<T> {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: T;
}

interface FamilyHead {
  readonly name: string;
  readonly help: string;
}
export type FamilySnapshot = FamilyHead &
  (
    | { readonly kind: "counter"; readonly series: readonly Series<Aggregate>[] }
    | { readonly kind: "gauge"; readonly merge: GaugeMerge; readonly series: readonly Series<number>[] }
    | {
        readonly kind: "histogram";
        readonly buckets: readonly number[];
        readonly series: readonly Series<Distribution>[];
      }
  );

/** Metrics by their names, in the order of their declaration. */
export type MetricsSnapshot = readonly FamilySnapshot[];

/** The text format. */
export function renderMetrics(snapshot: MetricsSnapshot): string {
  return snapshot.flatMap(familyLines).join("\n").concat("\n");
}

function familyLines(family: FamilySnapshot): readonly string[] {
  const help = family.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return [`# HELP ${family.name} ${help}`, `# TYPE ${family.name} ${family.kind}`, ...seriesLines(family)];
}

function seriesLines(family: FamilySnapshot): readonly string[] {
  const { name } = family;
  switch (family.kind) {
    case "counter":
      return family.series.map(({ labels, value }) => `${name}${labelText(labels)} ${value.sum}`);
    case "gauge":
      return family.series.map(({ labels, value }) => `${name}${labelText(labels)} ${value}`);
    case "histogram":
      return family.series.flatMap(({ labels, value }) => distributionLines(name, labels, family.buckets, value));
  }
}

/** As the text format has them; "" without any. */
export function labelText(labels: Readonly<Record<string, string>>): string {
  const texts = Object.entries(labels).map(([label, value]) => `${label}="${escapeLabel(value)}"`);
  return texts.length === 0 ? "" : `{${texts.join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function distributionLines(
  name: string,
  labels: Readonly<Record<string, string>>,
  buckets: readonly number[],
  { counts, sample: { sum } }: Distribution,
): readonly string[] {
  let total = 0;
  const lines = counts.map((count, i) => {
    total += count;
    const bound = buckets[i];
    return `${name}_bucket${labelText({ ...labels, le: bound === undefined ? "+Inf" : String(bound) })} ${total}`;
  });
  return [...lines, `${name}_sum${labelText(labels)} ${sum}`, `${name}_count${labelText(labels)} ${total}`];
}

/** The numbers of the JSON form. */
export function readMetrics(snapshot: MetricsSnapshot): MetricReadings {
  const readings: MetricReadings = { gauges: [], counters: [], samples: [] };
  for (const family of snapshot) {
    const { name } = family;
    if (family.kind === "counter")
      for (const { labels, value } of family.series) readings.counters.push({ name, labels, sample: value });
    else if (family.kind === "gauge")
      for (const { labels, value } of family.series) readings.gauges.push({ name, labels, value });
    else for (const { labels, value } of family.series) readings.samples.push({ name, labels, sample: value.sample });
  }
  return readings;
}

/** What only grows; the rest is over when its process ends. */
export function countsOf(snapshot: MetricsSnapshot): MetricsSnapshot {
  return snapshot.filter(({ kind }) => kind !== "gauge");
}

/** The metrics of several processes as if they were one. A metric that one declares otherwise than the first is left out. */
export function mergeMetrics(snapshots: readonly MetricsSnapshot[]): MetricsSnapshot {
  const merged = new Map<string, FamilySnapshot>();
  for (const family of snapshots.flat()) {
    const before = merged.get(family.name);
    merged.set(family.name, before ? mergeFamilies(before, family) : family);
  }
  return [...merged.values()];
}

function mergeFamilies(a: FamilySnapshot, b: FamilySnapshot): FamilySnapshot {
  if (a.kind === "counter" && b.kind === "counter") return { ...a, series: mergeSeries(a.series, b.series, plus) };
  if (a.kind === "gauge" && b.kind === "gauge")
    return { ...a, series: mergeSeries(a.series, b.series, GAUGE_MERGES[a.merge]) };
  if (a.kind === "histogram" && b.kind === "histogram")
    return { ...a, series: mergeSeries(a.series, b.series, plusDistribution) };
  return a;
}

const GAUGE_MERGES: Readonly<Record<GaugeMerge, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  max: Math.max,
  min: Math.min,
};

function mergeSeries<T>(a: readonly Series<T>[], b: readonly Series<T>[], join: (a: T, b: T) => T): Series<T>[] {
  const merged = new Map(a.map((series) => [labelText(series.labels), series]));
  for (const series of b) {
    const text = labelText(series.labels);
    const before = merged.get(text);
    merged.set(text, before ? { ...before, value: join(before.value, series.value) } : series);
  }
  return [...merged.values()];
}

function plus(a: Aggregate, b: Aggregate): Aggregate {
  if (a.count === 0 || b.count === 0) return a.count === 0 ? b : a;
  return {
    count: a.count + b.count,
    sum: a.sum + b.sum,
    sumOfSquares: a.sumOfSquares + b.sumOfSquares,
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
  };
}

function plusDistribution(a: Distribution, b: Distribution): Distribution {
  const counts = a.counts.map((count, i) => count + (b.counts[i] ?? 0));
  return { counts, sample: plus(a.sample, b.sample) };
}

export function emptyDistribution(buckets: readonly number[]): { counts: number[]; sample: Aggregate } {
  return { counts: new Array<number>(buckets.length + 1).fill(0), sample: newAggregate() };
}
