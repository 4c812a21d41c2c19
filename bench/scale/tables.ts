// The figures of a large store as people read them: beside those of an empty one, with the ratio.
import type { Comparison, Expiry, StoreFigures } from "./measurements.ts";

const ROWS: readonly (readonly [string, (figures: StoreFigures) => number])[] = [
  ["start to unsealed, ms", (figures) => figures.unsealedMillis],
  ["memory of its own at start, MiB", (figures) => figures.memoryAtStartMiB],
  ["memory of its own after load, MiB", (figures) => figures.memoryAfterLoadMiB],
  ["KV read p50, ms", (figures) => figures.read.p50Millis],
  ["KV read p99, ms", (figures) => figures.read.p99Millis],
  ["KV reads a second", (figures) => figures.read.requestsPerSecond],
  ["login p50, ms", (figures) => figures.login.p50Millis],
  ["login p99, ms", (figures) => figures.login.p99Millis],
  ["logins a second", (figures) => figures.login.requestsPerSecond],
];

const NAME_WIDTH = 36;
const WIDTH = 10;

function line(name: string, ...cells: readonly string[]): string {
  return name.padEnd(NAME_WIDTH) + cells.map((cell) => cell.padStart(WIDTH)).join("");
}

export function comparisonTable({ empty, large }: Comparison): string {
  const rows = ROWS.map(([name, pick]) => {
    const [before, after] = [pick(empty), pick(large)];
    return line(name, shown(before), shown(after), (after / before).toFixed(2));
  });
  return [line("", "empty", "large", "ratio"), ...rows, ""].join("\n");
}

export function expiryTable({ leases, seconds, leasesPerSecond, during, worstP99Millis, afterwards }: Expiry): string {
  return [
    `${leases} leases end in ${seconds.toFixed(1)} s (${leasesPerSecond}/s); KV reads meanwhile and afterwards:`,
    line("", "during", "after", "ratio"),
    line("p50, ms", ...compared(during.p50Millis, afterwards.p50Millis)),
    line("p99, ms (median of seconds)", ...compared(during.p99Millis, afterwards.p99Millis)),
    line("p99, ms (worst second)", ...compared(worstP99Millis, afterwards.p99Millis)),
    line("reads a second", ...compared(during.requestsPerSecond, afterwards.requestsPerSecond)),
    "",
  ].join("\n");
}

function compared(during: number, after: number): readonly string[] {
  return [shown(during), shown(after), (during / after).toFixed(2)];
}

function shown(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(2);
}
