// Turns for requests that met a conflict: within a process, those of one mount go one after the other, so that each
// competes with new requests alone and not with everybody who lost before. An optimisation without authority: a request
// that has waited long goes on without a turn, and what may commit is still decided by storage.
import type { Clock, Millis } from "#common/clock.ts";

/** A turn is as long as a request; behind one that is slow nobody waits longer than this. */
export const TURN_WAIT_MILLIS_MAX = 500;

interface Waiter {
  begin(): void;
}

export class Turns {
  readonly #clock: Clock;
  /** Who waits, by lane; a lane is there while somebody has its turn. */
  readonly #lanes = new Map<string, Waiter[]>();
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Waits for the lane's turn, first come first served; the turn ends when what it gives is disposed of. */
  async take(lane: string): Promise<Disposable> {
    const waiting = this.#lanes.get(lane);
    if (!waiting) {
      this.#lanes.set(lane, []);
      return this.#turn(lane);
    }
    return (await this.#wait(waiting)) ? this.#turn(lane) : { [Symbol.dispose]: () => {} };
  }

  async #wait(waiting: Waiter[]): Promise<boolean> {
    const timer = new AbortController();
    const waiter = { hasBegun: false, begin: () => {} };
    const begun = new Promise<void>((resolve) => {
      waiter.begin = () => {
        waiter.hasBegun = true;
        resolve();
      };
    });
    waiting.push(waiter);
    await Promise.race([begun, this.#clock.sleep(TURN_WAIT_MILLIS_MAX satisfies Millis, timer.signal)]);
    timer.abort("settled");
    if (!waiter.hasBegun) waiting.splice(waiting.indexOf(waiter), 1);
    return waiter.hasBegun;
  }

  #turn(lane: string): Disposable {
    const turn = { isOver: false };
    return {
      [Symbol.dispose]: () => {
        if (turn.isOver) return;
        turn.isOver = true;
        const next = this.#lanes.get(lane)?.shift();
        if (next) next.begin();
        else this.#lanes.delete(lane);
      },
    };
  }
}
