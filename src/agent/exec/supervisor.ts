// A program that has secrets in its environment and nowhere else: started once they are all there, told signals, started
// anew when they have changed, and its exit status passed on.
//
//   waiting --start--> running --it ends--> ended (status)
//                       |  ^ `--a change--> stopping --it ends--> running
//                       `--stop--> stopping --it ends, or is killed--> ended
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { type Clock, type Millis, within } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";

export interface SupervisorOptions {
  /** The program and its arguments; no shell, and nothing secret. */
  readonly command: readonly string[];
  /** What it has besides its secrets. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stopSignal: NodeJS.Signals;
  /** How long after that it is killed. */
  readonly killMillis: Millis;
  readonly restarts: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a shell says of a program that cannot be started, and of one that is not there. */
const STATUS_CANNOT_START = 126;
const STATUS_NOT_FOUND = 127;
/** And of one that a signal ended: 128 and its number. */
const STATUS_SIGNALLED = 128;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #ended = Promise.withResolvers<number>();
  #child: ChildProcess | undefined;
  #childEnded: Promise<number> | undefined;
  #variables: Readonly<Record<string, string>> = {};
  #change: Promise<void> = Promise.resolve();
  /** The end of a child that is to be replaced is not the end of the program. */
  #isReplacing = false;
  /** It has ended, or is to end: none is started any more. */
  #isOver = false;
  constructor(options: SupervisorOptions) {
    this.#options = options;
    if (options.command.length === 0) throw new CofferError("invalid_request", "there is no command to run");
  }

  /** The exit status of the program once it has ended by itself or by `stop`. Never rejects. */
  get ended(): Promise<number> {
    return this.#ended.promise;
  }

  /** Starts it, or starts it anew when these variables are others than those it has. */
  update(variables: Readonly<Record<string, string>>): void {
    if (this.#isOver) return;
    const before = this.#variables;
    const isFirst = this.#child === undefined;
    this.#variables = variables;
    if (isFirst) {
      this.#start();
      return;
    }
    if (sameVariables(before, variables)) return;
    if (!this.#options.restarts) {
      this.#options.log.warn("a secret has changed; the program keeps the ones it was started with");
      return;
    }
    this.#change = this.#change.then(() => this.#restart());
  }

  /** Passes a signal on. */
  forward(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends it: by `signal`, then by force. Resolves when it has ended, or at once when it never ran. */
  async stop(signal: NodeJS.Signals = this.#options.stopSignal): Promise<void> {
    this.#isOver = true;
    await this.#change;
    this.#ended.resolve(await this.#endChild(signal));
  }

  #start(): void {
    const { command, env, log } = this.#options;
    const [program = "", ...args] = command;
    const child = spawn(program, args, { env: { ...env, ...this.#variables }, stdio: "inherit" });
    this.#child = child;
    const ended = new Promise<number>((resolve) => {
      child.once("error", (error) => {
        log.error("the program cannot be started", { program, reason: messageOf(error) });
        resolve("code" in error && error.code === "ENOENT" ? STATUS_NOT_FOUND : STATUS_CANNOT_START);
      });
      child.once("exit", (code, by) => resolve(code ?? STATUS_SIGNALLED + (by === null ? 0 : constants.signals[by])));
    });
    this.#childEnded = ended;
    if (child.pid !== undefined) log.info("program started", { program, pid: child.pid });
    void ended.then((status) => {
      if (this.#child !== child || this.#isReplacing) return;
      this.#isOver = true;
      this.#ended.resolve(status);
    });
  }

  async #restart(): Promise<void> {
    if (this.#isOver) return;
    this.#isReplacing = true;
    this.#options.log.info("a secret has changed, starting the program anew");
    await this.#endChild(this.#options.stopSignal);
    this.#isReplacing = false;
    if (!this.#isOver) this.#start();
  }

  async #endChild(signal: NodeJS.Signals): Promise<number> {
    const { clock, killMillis, log } = this.#options;
    if (this.#childEnded === undefined) return 0;
    this.#child?.kill(signal);
    const status = await within(clock, killMillis, this.#childEnded);
    if (status !== "late") return status;
    log.warn("the program did not end in time and is killed", { signal, waitedMillis: killMillis });
    this.#child?.kill("SIGKILL");
    return this.#childEnded;
  }
}

function sameVariables(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && a[name] === b[name]);
}
