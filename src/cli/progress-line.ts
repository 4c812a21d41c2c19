// Shows how far something long has come, on standard error: one line that is written over on a terminal, else a plain
// line now and then. Knows nothing of what is being done.
import type { Millis } from "#common/clock.ts";
import type { CliIo } from "./cli-io.ts";

const TERMINAL_MILLIS: Millis = 100;
const PLAIN_MILLIS: Millis = 5_000;

export class ProgressLine {
  readonly #io: Pick<CliIo, "stderr" | "isTerminal" | "clock">;
  #shownAt: Millis;
  #width = 0;

  constructor(io: Pick<CliIo, "stderr" | "isTerminal" | "clock">) {
    this.#io = io;
    this.#shownAt = io.clock.now();
  }

  /** `total` undefined: not known yet. */
  show(stage: string, done: number, total: number | undefined): void {
    const now = this.#io.clock.now();
    if (now - this.#shownAt < (this.#io.isTerminal ? TERMINAL_MILLIS : PLAIN_MILLIS)) return;
    this.#shownAt = now;
    const text = `${stage}: ${done}${total === undefined ? "" : ` of ${total}${share(done, total)}`}`;
    if (!this.#io.isTerminal) {
      this.#io.stderr.write(`${text}\n`);
      return;
    }
    this.#io.stderr.write(`\r${text.padEnd(this.#width)}`);
    this.#width = text.length;
  }

  /** Clears what stands on a terminal. May be called again. */
  end(): void {
    if (this.#width > 0) this.#io.stderr.write(`\r${"".padEnd(this.#width)}\r`);
    this.#width = 0;
  }
}

const share = (done: number, total: number) =>
  total === 0 ? "" : ` (${Math.min(100, Math.floor((100 * done) / total))} %)`;
