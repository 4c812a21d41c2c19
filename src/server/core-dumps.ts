// Says at the start whether the kernel would write this process's memory, with all keys, to a core dump when it crashes.
// It cannot change that: Node has no call for it, so who starts the process has to (SECURITY.md).
import { readFile } from "node:fs/promises";
import type { Log } from "#common/log.ts";

const LIMITS = "/proc/self/limits";
const PATTERN = "/proc/sys/kernel/core_pattern";

/** One warning when core dumps are on. On systems without /proc it says nothing. */
export async function warnOfCoreDumps(log: Log): Promise<void> {
  const [limits, pattern] = await Promise.all([LIMITS, PATTERN].map((path) => readFile(path, "utf8").catch(() => "")));
  const warning = coreDumpWarning(limits ?? "", pattern ?? "");
  if (warning !== undefined) log.warn(warning);
}

/**
 * The sentence, or undefined when no dump is made. A limit below a page makes no file. Of dumps to a program ("|…") the
 * kernel takes the limit to be none, but for the value 1, which means that there is no dump (fs/coredump.c).
 */
export function coreDumpWarning(limits: string, pattern: string): string | undefined {
  const soft = /^Max core file size +(\S+)/m.exec(limits)?.[1];
  if (soft === undefined || soft === "1") return undefined;
  if (soft === "0" && !pattern.startsWith("|")) return undefined;
  const how = pattern.startsWith("|") ? "to a program (kernel.core_pattern)" : "to a file";
  return `a crash of this process would write its memory, keys included, ${how}: start it by "helper nodump" as the image does, or switch core dumps off on the machine`;
}
