// What follows a change of files: a signal, a command, a POST. One after another, apart from the refreshing, so that a
// command that hangs delays no secret. Their code is loaded with the first of them. Nothing of it carries one: only the names of files.
import { backoffMillis } from "#client/retry.ts";
import type { ChangeHook } from "#common/agent-config.ts";
import type { Clock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { signalProcesses } from "../signal-processes.ts";

/** A hook, and the files whose change asks for it. */
export interface DueHook {
  readonly hook: ChangeHook;
  readonly paths: readonly string[];
}

/** After so many attempts the application is down, and reads its files when it starts. */
export const POST_ATTEMPTS_MAX = 6;
const POST_SECONDS_DEFAULT = 5;
const COMMAND_SECONDS_DEFAULT = 30;
const POST_WAIT_MILLIS_MAX = 10_000;

export interface HookOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Ends what is running. */
  readonly signal: AbortSignal;
  /** Of commands. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export class ChangeHooks {
  readonly #options: HookOptions;
  #last: Promise<void> = Promise.resolve();
  constructor(options: HookOptions) {
    this.#options = options;
  }

  /** Queues them. */
  run(due: readonly DueHook[]): void {
    for (const each of due) this.#last = this.#last.then(() => this.#runOne(each));
  }

  /** Resolves when all that was queued is done. */
  settled(): Promise<void> {
    return this.#last;
  }

  async #runOne({ hook, paths }: DueHook): Promise<void> {
    if (this.#options.signal.aborted) return;
    if (hook.signal !== undefined && hook.process !== undefined) await this.#signal(hook.signal, hook.process);
    if (hook.command !== undefined && hook.command.length > 0) await this.#command(hook.command, hook, paths);
    if (hook.http !== undefined) await this.#post(hook.http, hook, paths);
  }

  async #signal(signal: string, name: string): Promise<void> {
    const { log } = this.#options;
    const { signalled, problems } = await signalProcesses(signal, name);
    for (const reason of problems) log.warn("cannot signal", { signal, process: name, reason });
    if (signalled.length > 0) log.info("signalled", { signal, process: name, count: signalled.length });
    else if (problems.length === 0) {
      log.warn("no such process to signal: in a pod it needs shareProcessNamespace", { signal, process: name });
    }
  }

  async #command(command: readonly string[], hook: ChangeHook, paths: readonly string[]): Promise<void> {
    const { log, env, signal, clock } = this.#options;
    const seconds = hook.commandSeconds ?? COMMAND_SECONDS_DEFAULT;
    const [program = ""] = command;
    const { runCommand } = await import("./run-command.ts");
    const outcome = await runCommand(command, { env, timeoutMillis: seconds * 1000, signal, clock });
    const about = { program, files: paths.length };
    if (outcome.kind === "done") log.info("command ran", about);
    else log.warn("command failed", { ...about, reason: outcome.reason });
  }

  async #post(
    url: string,
    { httpSeconds = POST_SECONDS_DEFAULT }: ChangeHook,
    paths: readonly string[],
  ): Promise<void> {
    const { log, signal, clock } = this.#options;
    const { postChange } = await import("./post-change.ts");
    for (let attempt = 0; attempt < POST_ATTEMPTS_MAX && !signal.aborted; attempt++) {
      if (attempt > 0) await clock.sleep(backoffMillis(attempt, POST_WAIT_MILLIS_MAX), signal);
      try {
        await postChange(url, paths, { timeoutMillis: httpSeconds * 1000, clock, signal });
        log.info("told of the change", { url, files: paths.length });
        return;
      } catch (error) {
        if (!signal.aborted)
          log.warn("cannot tell of the change", { url, attempt: attempt + 1, reason: messageOf(error) });
      }
    }
  }
}
