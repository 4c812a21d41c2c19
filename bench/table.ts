// Figures as a table for people.
import type { Measured } from "./load.ts";

export interface Row extends Measured {
  readonly workload: string;
  /** Requests per second as a part of what the bare responder does. */
  readonly ofBare?: number;
}

const HEAD = ["workload", "workers", "requests/s", "p50 ms", "p99 ms", "CPU µs", "of bare"];

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
    String(row.cpuMicros),
    row.ofBare === undefined ? "" : `${Math.round(row.ofBare * 100)} %`,
  ];
}
