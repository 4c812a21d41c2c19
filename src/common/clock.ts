// Time as an argument (invariant I6). Nothing outside this file asks the system for the time or sets a timer.

export type Millis = number;
export type Seconds = number;

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): Millis;
  /** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
  sleep(ms: Millis, signal?: AbortSignal): Promise<void>;
  /** Calls `wake` after `ms`, unless the function that it gives is called before. */
  after(ms: Millis, wake: () => void): () => void;
}

/** Longer waits fire at once in Node (2^31 - 1 ms, about 24.8 days), so sleeps are cut to this. */
const TIMER_MILLIS_MAX = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, Math.min(Math.max(ms, 0), TIMER_MILLIS_MAX));
      signal?.addEventListener("abort", done, { once: true });
    }),
  after: (ms, wake) => {
    const timer = setTimeout(wake, Math.min(Math.max(ms, 0), TIMER_MILLIS_MAX));
    return () => clearTimeout(timer);
  },
};

/** What `work` gives, or "late" when that takes longer. Throws as the work does. Leaves no timer behind. */
export function within<T>(clock: Clock, millis: Millis, work: Promise<T>): Promise<T | "late"> {
  return new Promise((resolve, reject) => {
    const stop = clock.after(millis, () => resolve("late"));
    work.then(
      (result) => {
        stop();
        resolve(result);
      },
      (error: unknown) => {
        stop();
        reject(error);
      },
    );
  });
}

/** A clock for tests: time stands still until `advance`. */
export class FakeClock implements Clock {
  #now: Millis;
  #sleepers: { at: Millis; wake: () => void }[] = [];
  constructor(now: Millis = Date.UTC(2026, 0, 1)) {
    this.#now = now;
  }
  now(): Millis {
    return this.#now;
  }
  sleep(ms: Millis, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      this.#sleepers.push({ at: this.#now + ms, wake: resolve });
      signal?.addEventListener("abort", () => resolve(), { once: true });
    });
  }
  after(ms: Millis, wake: () => void): () => void {
    const sleeper = { at: this.#now + ms, wake };
    this.#sleepers.push(sleeper);
    return () => {
      this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
    };
  }
  /** Moves time on and wakes every sleeper that is due, in order. */
  async advance(ms: Millis): Promise<void> {
    this.#now += ms;
    const due = this.#sleepers.filter((s) => s.at <= this.#now).sort((a, b) => a.at - b.at);
    this.#sleepers = this.#sleepers.filter((s) => s.at > this.#now);
    for (const sleeper of due) sleeper.wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
