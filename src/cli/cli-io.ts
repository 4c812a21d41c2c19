// What the CLI's commands are given instead of the process: the program's io and what only a person's terminal has.
import type { ProgramIo } from "#common/program.ts";

export interface CliIo extends ProgramIo {
  /** True when standard output is a terminal. */
  readonly isTerminal: boolean;
  /** Asks a person for a secret without showing it; rejects when there is no terminal. */
  askSecret(question: string): Promise<string>;
}
