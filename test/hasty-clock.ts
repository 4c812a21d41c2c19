// A clock for tests of things that wait and retry over real connections: short waits end at once and move the time on,
// deadlines of calls last a real second, long waits stand until their signal aborts. It remembers every short wait.
import { type Clock, type Millis, systemClock } from "#common/clock.ts";

/** Waits of this many milliseconds and more do not end by themselves. */
const LONG_MILLIS = 40_000;
/** Enough for an answer from the same machine, even when it is busy. */
const DEADLINE_REAL_MILLIS = 1_000;

export class HastyClock implements Clock {
  readonly waits: Millis[] = [];
  #now: Millis = Date.UTC(2026, 0, 1);
  readonly #deadlines: readonly Millis[];
  /** `deadlines` are the exact lengths of waits that guard calls and must not end at once. */
  constructor(...deadlines: Millis[]) {
    this.#deadlines = deadlines;
  }
  now(): Millis {
    return this.#now;
  }
  async sleep(ms: Millis, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return;
    if (this.#deadlines.includes(ms)) return systemClock.sleep(DEADLINE_REAL_MILLIS, signal);
    if (ms < LONG_MILLIS) {
      this.waits.push(ms);
      this.#now += ms;
      return systemClock.sleep(1, signal);
    }
    await new Promise<void>((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true }));
  }

  after(ms: Millis, wake: () => void): () => void {
    const stop = new AbortController();
    void this.sleep(ms, stop.signal).then(() => {
      if (!stop.signal.aborted) wake();
    });
    return () => stop.abort("stopped");
  }
}
