// What the kernel says of a process: memory (proc_pid_smaps_rollup) and processor time (proc_pid_stat).
import { readFileSync } from "node:fs";

/** Of proc_pid_stat on every Linux that Node runs on (sysconf(_SC_CLK_TCK)). */
const TICKS_PER_SECOND = 100;
const KIB_PER_MIB = 1024;

export interface Memory {
  readonly residentMiB: number;
  /** Its own pages, which no other process shares. */
  readonly privateMiB: number;
}

export function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1] ?? 0);
  const own = kib("Private_Clean") + kib("Private_Dirty");
  return { residentMiB: rounded(kib("Rss") / KIB_PER_MIB), privateMiB: rounded(own / KIB_PER_MIB) };
}

/** User and system time so far. */
export function cpuMillis(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name, in parentheses, may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
}

export function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
