// Work that waits for other systems, so many at once in all and for each system: one that hangs keeps neither the
// others nor the sweep waiting. Knows nothing of what the work is.
import { type Clock, type Millis, within } from "#common/clock.ts";

/** At once in all: enough to be quick, few enough for one process and the systems behind. */
const AT_ONCE = 32;
/** At once of one mount, so of one system. */
const OF_ONE_LANE = 8;
/** How long a full lane is waited for before it is left for the next round. */
const PATIENCE_MILLIS = 1_000;

export class Lanes {
  readonly #clock: Clock;
  readonly #running = new Map<Promise<void>, string>();
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Begins work as soon as its lane has room; false when it has none within a second. The work must not reject. */
  async start(lane: string, work: () => Promise<void>): Promise<boolean> {
    const until = this.#clock.now() + PATIENCE_MILLIS;
    for (;;) {
      const inLane = [...this.#running].filter(([, name]) => name === lane).map(([running]) => running);
      const inTheWay =
        inLane.length >= OF_ONE_LANE ? inLane : this.#running.size >= AT_ONCE ? [...this.#running.keys()] : [];
      if (inTheWay.length === 0) break;
      const left = until - this.#clock.now();
      if (left <= 0 || (await within(this.#clock, left, Promise.race(inTheWay))) === "late") return false;
    }
    const running: Promise<void> = work().finally(() => this.#running.delete(running));
    this.#running.set(running, lane);
    return true;
  }

  /** Waits for what is under way, but no longer than this. */
  async rest(millis: Millis = PATIENCE_MILLIS): Promise<void> {
    if (this.#running.size > 0) await within(this.#clock, millis, Promise.all(this.#running.keys()));
  }
}
