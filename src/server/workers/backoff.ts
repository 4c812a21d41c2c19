// How long a worker that has ended is waited for before it is started again: at once when it had lived, longer and
// longer when it ends again and again. Pure.
import type { Millis } from "#common/clock.ts";

/** A worker that has lived this long ends for a new reason. */
export const LIVED_MILLIS = 60_000;
const FIRST_MILLIS = 100;
/** A store or a KMS that is away is asked for again this often at the least. */
export const WAIT_MILLIS_MAX = 30_000;

export class Backoff {
  #failures = 0;

  /** After an end; `livedMillis`: since the start. */
  next(livedMillis: Millis): Millis {
    this.#failures = livedMillis >= LIVED_MILLIS ? 0 : this.#failures + 1;
    if (this.#failures === 0) return 0;
    return Math.min(FIRST_MILLIS * 2 ** (this.#failures - 1), WAIT_MILLIS_MAX);
  }
}
