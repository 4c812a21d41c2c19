// What waits for one reader that is never waited for: a queue with an end, which a reader that is too slow loses instead
// of the process its memory. Its reader takes all that waits at once.
import type { Clock, Millis } from "./clock.ts";

export class BoundedQueue<T> {
  readonly #max: number;
  readonly #onClose: () => void;
  readonly #overflow = new AbortController();
  #items: T[] = [];
  /** Of the reader that waits. */
  #wake: AbortController | undefined;
  /** `max` items wait at the most. */
  constructor(max: number, onClose: () => void) {
    this.#max = max;
    this.#onClose = onClose;
  }

  /** Aborts when more was waiting than fits; nothing comes any more. */
  get overflowed(): AbortSignal {
    return this.#overflow.signal;
  }

  /** Adds what `make` gives, which is asked for it only when there is room. */
  protected add(make: () => T): void {
    if (this.#overflow.signal.aborted) return;
    if (this.#items.length >= this.#max) this.overflow();
    else {
      this.#items.push(make());
      this.#wake?.abort("added");
    }
  }

  /** Something was lost before it came here. */
  overflow(): void {
    if (this.#overflow.signal.aborted) return;
    this.#items = [];
    this.#overflow.abort();
    this.#wake?.abort("overflowed");
  }

  /** All that waits. */
  take(): readonly T[] {
    const taken = this.#items;
    this.#items = [];
    return taken;
  }

  /** Until something waits, the time is over or the signal aborts. */
  async wait(clock: Clock, millis: Millis, signal: AbortSignal): Promise<void> {
    if (this.#items.length > 0 || this.#overflow.signal.aborted) return;
    const wake = new AbortController();
    this.#wake = wake;
    const stop = () => wake.abort();
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    await clock.sleep(millis, wake.signal);
    signal.removeEventListener("abort", stop);
    this.#wake = undefined;
  }

  close(): void {
    this.#items = [];
    this.#onClose();
  }
}
