// When the server warns of core dumps.
import { expect, it } from "vitest";
import { createLog } from "#common/log.ts";
import { coreDumpWarning, warnOfCoreDumps } from "./core-dumps.ts";

const limits = (soft: string) => `Limit                     Soft Limit           Hard Limit           Units
Max stack size            8388608              unlimited            bytes
Max core file size        ${soft.padEnd(20)} unlimited            bytes
`;

it.each<[string, string, string | undefined]>([
  ["unlimited", "core", "to a file"],
  ["1048576", "/var/core.%p", "to a file"],
  ["unlimited", "|/usr/lib/systemd/systemd-coredump %P", "to a program"],
  ["0", "|/usr/lib/systemd/systemd-coredump %P", "to a program"],
  ["0", "core", undefined],
  ["1", "core", undefined],
  ["1", "|/usr/lib/systemd/systemd-coredump %P", undefined],
])("a limit of %s and the pattern %s", (soft, pattern, expected) => {
  const warning = coreDumpWarning(limits(soft), pattern);
  if (expected === undefined) expect(warning).toBeUndefined();
  else expect(warning).toContain(expected);
});

it("says nothing where the kernel does not tell", () => {
  expect(coreDumpWarning("", "")).toBeUndefined();
});

it("asks the kernel of this machine, and warns at most once", async () => {
  const lines: string[] = [];
  const log = createLog({ level: "warn", format: "text", write: (text) => void lines.push(text), now: () => 0 });
  await warnOfCoreDumps(log);
  expect(lines.length).toBeLessThanOrEqual(1);
});
