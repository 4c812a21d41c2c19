// Runs a program after a change, without a shell, and ends it when it takes too long. Its output goes to the agent's
// standard error as it is; its arguments come from the configuration alone.
import { spawn } from "node:child_process";
import { type Clock, type Millis, within } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";

export type CommandOutcome = { readonly kind: "done" } | { readonly kind: "failed"; readonly reason: string };

/** Between the polite signal and the other one. */
const GRACE_MILLIS = 2_000;

export interface CommandOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly timeoutMillis: Millis;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/** Runs it to its end. Never rejects. */
export async function runCommand(command: readonly string[], options: CommandOptions): Promise<CommandOutcome> {
  const { env, timeoutMillis, signal, clock } = options;
  const [program = "", ...args] = command;
  // A group of its own, so that what a shell has started ends with it.
  const child = spawn(program, args, { env: { ...env }, stdio: ["ignore", "inherit", "inherit"], detached: true });
  const end = (name: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, name);
    } catch {
      // It has ended since.
    }
  };
  const ended = new Promise<CommandOutcome>((resolve) => {
    child.once("error", (error) => resolve({ kind: "failed", reason: messageOf(error) }));
    child.once("exit", (code, by) =>
      resolve(code === 0 ? { kind: "done" } : { kind: "failed", reason: `it ended with ${by ?? `status ${code}`}` }),
    );
  });
  const cancelled = new AbortController();
  const abort = () => cancelled.abort();
  signal.addEventListener("abort", abort, { once: true });
  const outcome = await Promise.race([
    within(clock, timeoutMillis, ended),
    new Promise<"aborted">((resolve) => cancelled.signal.addEventListener("abort", () => resolve("aborted"))),
  ]);
  signal.removeEventListener("abort", abort);
  if (typeof outcome === "object") return outcome;
  end("SIGTERM");
  if ((await within(clock, GRACE_MILLIS, ended)) === "late") end("SIGKILL");
  const reason = outcome === "late" ? `it took longer than ${timeoutMillis / 1000} s and was ended` : "the agent ended";
  return { kind: "failed", reason };
}
