// Signals to processes by name, for applications that read their files again on SIGHUP. Sees what the process namespace
// of the container holds: the pod's with `shareProcessNamespace`, else nothing but the agent. /proc as of proc_pid_comm(5).
import { readdir, readFile } from "node:fs/promises";
import { basename } from "node:path";
import { messageOf } from "#common/errors.ts";

/** The kernel cuts a process's name to so many bytes. */
const COMM_BYTES_MAX = 15;

export interface SignalReport {
  readonly signalled: readonly number[];
  /** Why others of that name got none. */
  readonly problems: readonly string[];
}

/** Sends the signal to every process whose program has that name, but to this one never. Never rejects. */
export async function signalProcesses(signal: string, name: string, proc = "/proc"): Promise<SignalReport> {
  const signalled: number[] = [];
  const problems: string[] = [];
  for (const entry of await readdir(proc).catch(() => [])) {
    const pid = Number(entry);
    if (!/^[1-9][0-9]*$/.test(entry) || pid === process.pid || !(await hasName(`${proc}/${entry}`, name))) continue;
    try {
      process.kill(pid, signal);
      signalled.push(pid);
    } catch (error) {
      problems.push(`process ${pid}: ${messageOf(error)}`);
    }
  }
  return { signalled, problems };
}

async function hasName(directory: string, name: string): Promise<boolean> {
  try {
    const comm = (await readFile(`${directory}/comm`, "utf8")).replace(/\n$/, "");
    if (comm === name) return true;
    if (comm !== name.slice(0, COMM_BYTES_MAX)) return false;
    const [program = ""] = (await readFile(`${directory}/cmdline`, "utf8")).split("\0");
    return basename(program) === name;
  } catch {
    // It has ended since.
    return false;
  }
}
