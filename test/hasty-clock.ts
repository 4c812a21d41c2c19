// A clock for tests of things that wait and retry over real connections: short waits end at once and move the time on,
// long ones (deadlines) stand until their signal aborts. It remembers every wait.
import type { Clock, Millis } from "#common/clock.ts";

export class HastyClock implements Clock {
  readonly waits: Millis[] = [];
  #now: Millis = Date.UTC(2026, 0, 1);
  readonly #shortBelow: Millis;
  /** Waits of this many milliseconds and more do not end by themselves. */
  constructor(shortBelow: Millis = 40_000) {
    this.#shortBelow = shortBelow;
  }
  now(): Millis {
    return this.#now;
  }
  async sleep(ms: Millis, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return;
    if (ms < this.#shortBelow) {
      this.waits.push(ms);
      this.#now += ms;
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    await new Promise<void>((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true }));
  }
}
