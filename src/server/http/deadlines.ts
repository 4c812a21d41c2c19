// The time that a request may take. All requests of a listener may take equally long, so they run out in the order in
// which they began: one loop looks at the oldest, and a request costs no timer.
import type { Clock, Millis } from "#common/clock.ts";

/** How much later than promised a request may be ended. */
const LOOK_MILLIS = 500;

export interface Deadline {
  readonly at: Millis;
  readonly onExpired: () => void;
}

export class Deadlines {
  readonly #clock: Clock;
  readonly #millis: Millis;
  readonly #open = new Set<Deadline>();
  readonly #stop = new AbortController();
  constructor(clock: Clock, millis: Millis) {
    this.#clock = clock;
    this.#millis = millis;
  }

  /** Requests under way. */
  get size(): number {
    return this.#open.size;
  }

  begin(onExpired: () => void): Deadline {
    const deadline = { at: this.#clock.now() + this.#millis, onExpired };
    this.#open.add(deadline);
    return deadline;
  }

  end(deadline: Deadline): void {
    this.#open.delete(deadline);
  }

  /** Looks until `stop`. */
  async run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#clock.sleep(Math.min(LOOK_MILLIS, this.#millis), signal);
      const now = this.#clock.now();
      for (const deadline of this.#open) {
        if (deadline.at > now) break;
        this.#open.delete(deadline);
        deadline.onExpired();
      }
    }
  }

  stop(): void {
    this.#stop.abort();
  }
}
