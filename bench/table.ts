// Figures as a table for people.
import type { Measured } from "./load.ts";

export interface Row extends Measured {
  readonly workload: string;
  /** Requests a second as a part of what the bare responder does. */
  readonly ofBare?: number;
  /** The same of what the raw storage commits. */
  readonly ofRaw?: number;
  /** Processor time of a request as a multiple of the bare responder's. */
  readonly cpuOfBare?: number;
  /** The same of a server that does only what an audited read cannot be without. */
  readonly cpuOfNecessary?: number;
}

const HEAD = [
  ...["workload", "clients", "requests/s", "p50 ms", "p99 ms"],
  ...["CPU s/1000", "of bare", "of raw", "CPU of bare", "of necessary"],
];

export function formatTable(rows: readonly Row[]): string {
  const lines = [HEAD, ...rows.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  return lines
    .map((line) =>
      line.map((text, i) => (i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0))).join("  "),
    )
    .join("\n");
}

function cells(row: Row): string[] {
  return [
    row.workload,
    String(row.workers),
    String(row.requestsPerSecond),
    row.p50Millis.toFixed(2),
    row.p99Millis.toFixed(2),
    shown(row.cpuMicros / 1_000, (value) => value.toFixed(3)),
    shown(row.ofBare, percent),
    shown(row.ofRaw, percent),
    shown(row.cpuOfBare, times),
    shown(row.cpuOfNecessary, times),
  ];
}

/** Nothing where it was not measured: the processor time of a server whose process is not known. */
function shown(value: number | undefined, format: (value: number) => string): string {
  return value === undefined || !Number.isFinite(value) ? "" : format(value);
}

function times(multiple: number): string {
  return `${multiple.toFixed(1)}x`;
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`;
}
