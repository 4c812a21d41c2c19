// A share of Node's thread pool for work that takes tens of milliseconds and that anybody can ask for: password hashes,
// keys. The pool has four threads (libuv's default) and the audit file is written by them as well, so a flood of logins
// would keep the log, and with it every other request, waiting.
import { CofferError } from "#common/errors.ts";

/** At once: half of the pool's threads. */
export const HEAVY_AT_ONCE = 2;
/** Waiting: some seconds' worth of password hashes. Who comes later is told to come again. */
export const HEAVY_WAITING_MAX = 100;

export class HeavyWork {
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** Runs the work when its turn comes, first come first served. Throws `unavailable` when too many wait already. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.#enter();
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }

  async #enter(): Promise<void> {
    if (this.#running < HEAVY_AT_ONCE) {
      this.#running++;
      return;
    }
    if (this.#waiting.length >= HEAVY_WAITING_MAX)
      throw new CofferError("unavailable", "too many logins with a password at once; try again in a moment");
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
