// What a program is given instead of touching `process`: the CLI's main.ts builds it from the real process, tests build
// it from strings. Every `main.ts` (server, operator, injector, agent) exports a `run` of type ProgramRun.
import type { Clock } from "./clock.ts";

export interface Output {
  write(text: string): unknown;
}

export interface ProgramIo {
  readonly stdout: Output;
  readonly stderr: Output;
  /** All of standard input. */
  readStdin(): Promise<Buffer>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Absolute; relative file names are relative to it. */
  readonly cwd: string;
  readonly clock: Clock;
  /** Aborts when the process was asked to end, with the signal's name (SIGTERM, SIGINT); a program then ends, quickly. */
  readonly signal: AbortSignal;
  /** Runs its argument at each SIGHUP, which then ends the process no more; absent where there are no signals. */
  readonly onHangup?: (run: () => void) => void;
  /** The same for another signal that would end the process, such as SIGUSR1. */
  readonly onSignal?: (name: NodeJS.Signals, run: () => void) => void;
}

/** Runs a program with the arguments behind its name; gives the exit code: 0 done, 1 usage or local, 2 remote. */
export type ProgramRun = (argv: readonly string[], io: ProgramIo) => Promise<number>;
