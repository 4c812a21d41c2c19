// Counters, gauges and histograms, declared once and written out in the Prometheus text format 0.0.4, or as the numbers
// that metrics-summary.ts makes a document of.
// A label's value is something of ours (a mount's path, a result, a namespace), never something a request carried in
// secret. Series are limited per metric: an unbounded label would fill memory.
// Format: https://prometheus.io/docs/instrumenting/exposition_formats/
import { CofferError } from "./errors.ts";
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
  gauge<const L extends string = never>(name: string, help: string, labels?: readonly L[]): Gauge<L>;
  /** A gauge without labels whose value is asked for at each scrape. */
  gaugeOf(name: string, help: string, value: () => number): void;
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
  readonly lines: () => readonly string[];
  /** Puts its series where the JSON form has them. */
  readonly read: (into: MetricReadings) => void;
}

/** An empty set of metrics; one per process, made in its main and handed down. */
export function createMetrics(): Metrics {
  const families = new Map<string, Family>();
  const declare = (family: Family) => {
    assertDeclaration(family);
    if (families.has(family.name)) throw new CofferError("internal", `the metric ${family.name} is declared twice`);
    families.set(family.name, family);
  };
  return {
    counter: (name, help, labels = []) => {
      const series = new SeriesTable<Aggregate>(labels, newAggregate);
      const lines = () => series.lines((text, { sum }) => [`${name}${text} ${sum}`]);
      const read = (into: MetricReadings) =>
        series.each((names, sample) => into.counters.push({ name, labels: names, sample }));
      declare({ name, kind: "counter", help, labels, lines, read });
      return { add: (values, by = 1) => series.update(values, (old) => noteSample(old, Math.max(by, 0))) };
    },
    gauge: (name, help, labels = []) => {
      const series = new SeriesTable<number>(labels, () => 0);
      const lines = () => series.lines((text, n) => [`${name}${text} ${n}`]);
      const read = (into: MetricReadings) =>
        series.each((names, value) => into.gauges.push({ name, labels: names, value }));
      declare({ name, kind: "gauge", help, labels, lines, read });
      return { set: (values, value) => series.update(values, () => value), remove: (values) => series.remove(values) };
    },
    gaugeOf: (name, help, value) => {
      const read = (into: MetricReadings) => void into.gauges.push({ name, labels: {}, value: value() });
      declare({ name, kind: "gauge", help, labels: [], lines: () => [`${name} ${value()}`], read });
    },
    histogram: (name, help, buckets, labels = []) => {
      const series = new SeriesTable<Distribution>(labels, () => emptyDistribution(buckets));
      const lines = () => series.lines((text, value) => distributionLines(name, text, buckets, value));
      const read = (into: MetricReadings) =>
        series.each((names, { sample }) => into.samples.push({ name, labels: names, sample }));
      declare({ name, kind: "histogram", help, labels, lines, read });
      return { observe: (values, value) => series.update(values, (old) => observed(old, buckets, value)) };
    },
    render: () => [...families.values()].flatMap(familyLines).join("\n").concat("\n"),
    read: () => {
      const readings: MetricReadings = { gauges: [], counters: [], samples: [] };
      for (const family of families.values()) family.read(readings);
      return readings;
    },
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

function familyLines({ name, kind, help, lines }: Family): readonly string[] {
  const text = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return [`# HELP ${name} ${text}`, `# TYPE ${name} ${kind}`, ...lines()];
}

interface Series<T> {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: T;
}

/** Values by their labels, bounded. */
class SeriesTable<T> {
  readonly #labels: readonly string[];
  readonly #initial: () => T;
  readonly #series = new Map<string, Series<T>>();
  constructor(labels: readonly string[], initial: () => T) {
    this.#labels = labels;
    this.#initial = initial;
    // Without labels there is one series, visible as 0 before anything happened.
    if (labels.length === 0) this.#series.set("", { labels: {}, value: initial() });
  }
  update(values: Readonly<Record<string, string>>, change: (old: T) => T): void {
    let valueFor = (label: string) => values[label] ?? "";
    let text = labelText(this.#labels, valueFor);
    if (!this.#series.has(text) && this.#series.size >= SERIES_MAX) {
      valueFor = () => "other";
      text = labelText(this.#labels, valueFor);
    }
    const old = this.#series.get(text);
    const labels = old?.labels ?? Object.fromEntries(this.#labels.map((label) => [label, cutLabel(valueFor(label))]));
    this.#series.set(text, { labels, value: change(old ? old.value : this.#initial()) });
  }
  remove(values: Readonly<Record<string, string>>): void {
    this.#series.delete(labelText(this.#labels, (label) => values[label] ?? ""));
  }
  lines(write: (labels: string, value: T) => readonly string[]): readonly string[] {
    return [...this.#series].flatMap(([text, { value }]) => write(text, value));
  }
  each(visit: (labels: Readonly<Record<string, string>>, value: T) => void): void {
    for (const { labels, value } of this.#series.values()) visit(labels, value);
  }
}

function labelText(labels: readonly string[], valueFor: (label: string) => string): string {
  if (labels.length === 0) return "";
  return `{${labels.map((label) => `${label}="${escapeLabel(valueFor(label))}"`).join(",")}}`;
}

function escapeLabel(value: string): string {
  return cutLabel(value).replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function cutLabel(value: string): string {
  return value.slice(0, LABEL_CHARACTERS_MAX);
}

interface Distribution {
  /** How many fell into each bucket and into none of them. */
  readonly counts: number[];
  readonly sample: Aggregate;
}

function emptyDistribution(buckets: readonly number[]): Distribution {
  return { counts: new Array<number>(buckets.length + 1).fill(0), sample: newAggregate() };
}

function observed(distribution: Distribution, buckets: readonly number[], value: number): Distribution {
  const found = buckets.findIndex((bound) => value <= bound);
  const index = found < 0 ? buckets.length : found;
  distribution.counts[index] = (distribution.counts[index] ?? 0) + 1;
  noteSample(distribution.sample, value);
  return distribution;
}

function distributionLines(
  name: string,
  labels: string,
  buckets: readonly number[],
  { counts, sample: { sum } }: Distribution,
): readonly string[] {
  const withBound = (bound: string) => (labels === "" ? `{le="${bound}"}` : `${labels.slice(0, -1)},le="${bound}"}`);
  let total = 0;
  const lines = counts.map((count, i) => {
    total += count;
    const bound = buckets[i];
    return `${name}_bucket${withBound(bound === undefined ? "+Inf" : String(bound))} ${total}`;
  });
  return [...lines, `${name}_sum${labels} ${sum}`, `${name}_count${labels} ${total}`];
}
