// Counters, gauges and histograms, declared once; metrics-snapshot.ts writes out what they say.
// A label's value is something of ours (a mount's path, a result, a namespace), never something a request carried in
// secret. Series are limited per metric: an unbounded label would fill memory.
import { CofferError } from "./errors.ts";
import {
  emptyDistribution,
  type FamilySnapshot,
  type GaugeMerge,
  type MetricsSnapshot,
  readMetrics,
  renderMetrics,
} from "./metrics-snapshot.ts";
import { type Aggregate, type MetricReadings, newAggregate, noteSample } from "./metrics-summary.ts";

export interface Counter<L extends string = never> {
  /** Adds `by`, 1 when absent; never negative. */
  add(labels: Labels<L>, by?: number): void;
}
export interface Gauge<L extends string = never> {
  set(labels: Labels<L>, value: number): void;
  /** Drops a series whose subject is gone. */
  remove(labels: Labels<L>): void;
}
export interface Histogram<L extends string = never> {
  observe(labels: Labels<L>, value: number): void;
}
export type Labels<L extends string> = Readonly<Record<L, string>>;

export interface Metrics {
  /** The name ends in _total. */
  counter<const L extends string = never>(name: string, help: string, labels?: readonly L[]): Counter<L>;
  /** `merge`: what the values of several processes come to, their sum by default. */
  gauge<const L extends string = never>(
    name: string,
    help: string,
    labels?: readonly L[],
    merge?: GaugeMerge,
  ): Gauge<L>;
  /** A gauge without labels whose value is asked for at each scrape. */
  gaugeOf(name: string, help: string, value: () => number | undefined, merge?: GaugeMerge): void;
  /** `buckets` are upper bounds in rising order, in the unit that the name ends with. */
  histogram<const L extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labels?: readonly L[],
  ): Histogram<L>;
  /** All metrics in the text format. */
  render(): string;
  /** The same as numbers, for the JSON form. */
  read(): MetricReadings;
  /** The same as data, to be merged with those of other processes. */
  snapshot(): MetricsSnapshot;
  /** Every metric with its kind and help, for the reference pages. */
  describe(): readonly MetricDescription[];
}
export interface MetricDescription {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
}

/** Of `render`. */
export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
/** More series than this of one metric are counted under the label value "other". */
export const SERIES_MAX = 2000;
/** Longer label values are cut; they are names, not texts. */
const LABEL_CHARACTERS_MAX = 200;
const METRIC_NAME = /^[a-z][a-z0-9_]*$/;
/** Names that suggest a value which must not be published. */
const FORBIDDEN_LABELS = new Set(["token", "secret", "password", "accessor", "key_value", "jwt"]);
/** 1 ms to 10 s, for what a user waits for. */
export const DURATION_BUCKETS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const;

interface Family extends MetricDescription {
  readonly snapshot: () => FamilySnapshot;
}

/** An empty set of metrics; one per process, made in its main and handed down. */
export function createMetrics(): Metrics {
  const families = new Map<string, Family>();
  const declare = (family: Family) => {
    assertDeclaration(family);
    if (families.has(family.name)) throw new CofferError("internal", `the metric ${family.name} is declared twice`);
    families.set(family.name, family);
  };
  const snapshot = () => [...families.values()].map((family) => family.snapshot());
  return {
    counter: (name, help, labels = []) => {
      const table = new SeriesTable<Aggregate>(labels, newAggregate);
      const kind = "counter";
      declare({ name, kind, help, labels, snapshot: () => ({ name, kind, help, series: table.series() }) });
      return { add: (values, by = 1) => table.update(values, (old) => noteSample(old, Math.max(by, 0))) };
    },
    gauge: (name, help, labels = [], merge = "sum") => {
      const table = new SeriesTable<number>(labels, () => 0);
      const kind = "gauge";
      declare({ name, kind, help, labels, snapshot: () => ({ name, kind, help, merge, series: table.series() }) });
      return { set: (values, value) => table.update(values, () => value), remove: (values) => table.remove(values) };
    },
    gaugeOf: (name, help, value, merge = "sum") => {
      const kind = "gauge";
      const series = () => {
        const now = value();
        return now === undefined ? [] : [{ labels: {}, value: now }];
      };
      declare({ name, kind, help, labels: [], snapshot: () => ({ name, kind, help, merge, series: series() }) });
    },
    histogram: (name, help, buckets, labels = []) => {
      const table = new SeriesTable<MutableDistribution>(labels, () => emptyDistribution(buckets));
      const kind = "histogram";
      declare({ name, kind, help, labels, snapshot: () => ({ name, kind, help, buckets, series: table.series() }) });
      return { observe: (values, value) => table.update(values, (old) => observed(old, buckets, value)) };
    },
    snapshot,
    render: () => renderMetrics(snapshot()),
    read: () => readMetrics(snapshot()),
    describe: () => [...families.values()].map(({ name, kind, help, labels }) => ({ name, kind, help, labels })),
  };
}

function assertDeclaration({ name, labels }: Family): void {
  for (const word of [name, ...labels])
    if (!METRIC_NAME.test(word)) throw new CofferError("internal", `${word} is no name of a metric or label`);
  const forbidden = labels.find((label) => FORBIDDEN_LABELS.has(label));
  if (forbidden !== undefined)
    throw new CofferError("internal", `the label ${forbidden} of ${name} would publish a secret`);
}

interface Series<T> {
  readonly labels: Readonly<Record<string, string>>;
  value: T;
}

/** Values by their labels, bounded. Changed for each request: finding a series costs one look-up and makes nothing. */
class SeriesTable<T> {
  readonly #labels: readonly string[];
  readonly #initial: () => T;
  readonly #series = new Map<string, Series<T>>();
  constructor(labels: readonly string[], initial: () => T) {
    this.#labels = labels;
    this.#initial = initial;
    // Without labels there is one series, visible as 0 before anything happened.
    if (labels.length === 0) this.#open("", () => "");
  }
  update(values: Readonly<Record<string, string>>, change: (old: T) => T): void {
    const valueFor = (label: string) => (values[label] ?? "").slice(0, LABEL_CHARACTERS_MAX);
    const series = this.#series.get(this.#keyOf(valueFor)) ?? this.#make(valueFor);
    series.value = change(series.value);
  }
  remove(values: Readonly<Record<string, string>>): void {
    this.#series.delete(this.#keyOf((label) => (values[label] ?? "").slice(0, LABEL_CHARACTERS_MAX)));
  }
  series(): readonly Series<T>[] {
    return [...this.#series.values()].map((series) => ({ ...series }));
  }
  /** A new series, or the one that takes what is too many. */
  #make(valueFor: (label: string) => string): Series<T> {
    if (this.#series.size < SERIES_MAX) return this.#open(this.#keyOf(valueFor), valueFor);
    const other = () => "other";
    const key = this.#keyOf(other);
    return this.#series.get(key) ?? this.#open(key, other);
  }
  #open(key: string, valueFor: (label: string) => string): Series<T> {
    const labels = Object.fromEntries(this.#labels.map((label) => [label, valueFor(label)]));
    const series = { labels, value: this.#initial() };
    this.#series.set(key, series);
    return series;
  }
  #keyOf(valueFor: (label: string) => string): string {
    const [first, ...others] = this.#labels;
    if (first === undefined) return "";
    let key = valueFor(first);
    for (const label of others) key += `\0${valueFor(label)}`;
    return key;
  }
}

type MutableDistribution = ReturnType<typeof emptyDistribution>;

function observed(distribution: MutableDistribution, buckets: readonly number[], value: number): MutableDistribution {
  const found = buckets.findIndex((bound) => value <= bound);
  const index = found < 0 ? buckets.length : found;
  distribution.counts[index] = (distribution.counts[index] ?? 0) + 1;
  noteSample(distribution.sample, value);
  return distribution;
}
