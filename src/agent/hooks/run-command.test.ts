// Programs that run after a change: without a shell, within their time, and with all that they have started.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { runCommand } from "./run-command.ts";

const options = { env: { PATH: "/usr/bin:/bin", A: "b" }, timeoutMillis: 10_000, clock: systemClock };
const forever = new AbortController().signal;
const run = (...command: string[]) => runCommand(command, { ...options, signal: forever });

it("tells how it ended", async () => {
  expect(await run("/bin/true")).toEqual({ kind: "done" });
  expect(await run("/bin/sh", "-c", 'test "$A" = b && exit 3')).toEqual({
    kind: "failed",
    reason: "it ended with status 3",
  });
  expect(await run("/no/such")).toMatchObject({ kind: "failed", reason: expect.stringContaining("ENOENT") });
});

it("knows no shell", async () => {
  expect(await run("/usr/bin/test", "$A; false", "=", "$A; false")).toEqual({ kind: "done" });
});

it("ends what takes too long, and what that has started", async () => {
  const folder = await mkdtemp(join(tmpdir(), "coffer-hook-"));
  const script = `(sleep 30 & echo $! > ${folder}/pid; wait)`;
  const outcome = await runCommand(["/bin/sh", "-c", script], { ...options, timeoutMillis: 200, signal: forever });
  expect(outcome).toEqual({ kind: "failed", reason: "it took longer than 0.2 s and was ended" });
  const pid = Number(await readFile(join(folder, "pid"), "utf8"));
  await expect.poll(() => isThere(pid)).toBe(false);
  await rm(folder, { recursive: true });
});

it("ends with the agent", async () => {
  const end = new AbortController();
  const running = runCommand(["/bin/sleep", "30"], { ...options, signal: end.signal });
  end.abort();
  expect(await running).toEqual({ kind: "failed", reason: "the agent ended" });
});

/** A process that nobody has waited for yet is a zombie, and has ended all the same. */
async function isThere(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return status !== "" && !/\) Z /.test(status);
}
