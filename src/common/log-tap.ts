// Readers of a log while it is written, such as an administrator's screen. A reader's queue has an end: who reads more
// slowly than lines are written is cut off, never waited for. Lines are what the log has anyway, so no secret is in them.
import { BoundedQueue } from "./bounded-queue.ts";
import { CofferError } from "./errors.ts";
import type { LogFormat, LogLevel } from "./log.ts";

/** Readers of one process's log: people who look at something, not a way to ship logs. */
export const TAPS_MAX = 20;
/** Lines that wait for one reader. */
export const TAP_LINES_MAX = 1_000;

export interface TapSelection {
  /** Whether lines of this severity are wanted; not bound by the log's own threshold. */
  readonly wants: (level: LogLevel) => boolean;
  readonly format: LogFormat;
}

/** How lines come to readers in another process of the same program. */
export interface LogRelay {
  /** Whether somebody there reads. */
  isWanted(): boolean;
  send(level: LogLevel, render: (format: LogFormat) => string): void;
  /** Whether somebody here reads. */
  want(wanted: boolean): void;
}

/** The readers of one log and of all that `with` made of it. */
export class LogTaps {
  readonly #taps = new Set<LogTap>();
  #relay: LogRelay | undefined;

  get size(): number {
    return this.#taps.size;
  }

  /** Whether lines are read at all, here or in another process. */
  get isRead(): boolean {
    return this.#taps.size > 0 || this.#relay?.isWanted() === true;
  }

  relayBy(relay: LogRelay): void {
    this.#relay = relay;
  }

  /** Throws `rate_limited` when there are as many readers as there may be. */
  assertRoom(): void {
    if (this.#taps.size >= TAPS_MAX)
      throw new CofferError("rate_limited", `the log has ${TAPS_MAX} readers already; end one of them`);
  }

  /** A new reader; whoever opens one must close it. Throws as `assertRoom`. */
  open(selection: TapSelection): LogTap {
    this.assertRoom();
    const tap: LogTap = new LogTap(selection, () => {
      this.#taps.delete(tap);
      if (this.#taps.size === 0) this.#relay?.want(false);
    });
    this.#taps.add(tap);
    if (this.#taps.size === 1) this.#relay?.want(true);
    return tap;
  }

  /** Gives a line to those who want it; `render` makes it in a format. */
  offer(level: LogLevel, render: (format: LogFormat) => string): void {
    this.receive(level, render);
    if (this.#relay?.isWanted()) this.#relay.send(level, render);
  }

  /** A line of another process, which is not sent on. */
  receive(level: LogLevel, render: (format: LogFormat) => string): void {
    for (const tap of this.#taps) tap.offer(level, render);
  }
}

/** One reader's lines, newlines included. */
export class LogTap extends BoundedQueue<string> {
  readonly #selection: TapSelection;
  constructor(selection: TapSelection, onClose: () => void) {
    super(TAP_LINES_MAX, onClose);
    this.#selection = selection;
  }

  offer(level: LogLevel, render: (format: LogFormat) => string): void {
    const { wants, format } = this.#selection;
    if (wants(level)) this.add(() => render(format));
  }
}
