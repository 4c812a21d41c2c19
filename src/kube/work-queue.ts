// Keys that wait for work: each at most once, never two workers on one key, what users wait for before what is merely
// refreshed. A key that fails comes back after a wait of its own that doubles. The queue does not run anything.
//
//   add ──► ready (user | refresh) ──next──► working ──done──► (added meanwhile? ready again)
//             ▲
//   addAfter ─┴─ waiting, ordered by time
import type { Clock, Millis } from "#common/clock.ts";
import { type Backoff, backoffMillis } from "./backoff.ts";

export type Priority = "user" | "refresh";

export interface WorkQueue {
  add(key: string, priority?: Priority): void;
  /** Adds the key later; of several times the earliest counts. */
  addAfter(key: string, millis: Millis, priority?: Priority): void;
  /** Adds the key after the wait that its failures so far ask for, and gives that wait. */
  addFailed(key: string): Millis;
  /** Forgets the failures of a key. */
  forget(key: string): void;
  /** The next key, or undefined once the signal aborts. Whoever takes a key must call `done` with it. */
  next(signal: AbortSignal): Promise<string | undefined>;
  done(key: string): void;
  /** Moves what is due from waiting to ready until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** Keys that are ready, waiting for their time, and being worked on. */
  sizes(): { readonly ready: number; readonly waiting: number; readonly working: number };
}

/** After this many keys in a row that users wait for, one refresh gets its turn: a storm of edits starves nothing. */
export const USER_TURNS_MAX = 20;
/** Times are rounded up to this, so that thousands of keys due one after another are moved in few passes. */
const WAKE_STEP_MILLIS: Millis = 100;
/** With nothing waiting the mover sleeps an hour at a time; additions wake it. */
const IDLE_SLEEP_MILLIS: Millis = 3_600_000;
const BACKOFF: Backoff = { initialMillis: 500, maxMillis: 300_000 };

export function createWorkQueue(options: { clock: Clock; backoff?: Backoff }): WorkQueue {
  return new Queue(options.clock, options.backoff ?? BACKOFF);
}

class Queue implements WorkQueue {
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #ready: Readonly<Record<Priority, Set<string>>> = { user: new Set(), refresh: new Set() };
  readonly #waiting = new Map<string, { at: Millis; priority: Priority }>();
  readonly #working = new Set<string>();
  /** Added while being worked on. */
  readonly #again = new Map<string, Priority>();
  readonly #failures = new Map<string, number>();
  readonly #takers = new Set<() => void>();
  #userTurns = 0;
  #rescheduled = new AbortController();
  #wakesAt: Millis = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, backoff: Backoff) {
    this.#clock = clock;
    this.#backoff = backoff;
  }

  add(key: string, priority: Priority = "user"): void {
    if (this.#working.has(key)) {
      if (this.#again.get(key) !== "user") this.#again.set(key, priority);
      return;
    }
    if (this.#ready.user.has(key)) return;
    if (priority === "user") this.#ready.refresh.delete(key);
    this.#ready[priority].add(key);
    this.#wakeOne();
  }

  addAfter(key: string, millis: Millis, priority: Priority = "refresh"): void {
    if (millis <= 0) {
      this.add(key, priority);
      return;
    }
    const at = this.#clock.now() + millis;
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined && waiting.at <= at) return;
    this.#waiting.set(key, { at, priority });
    if (at < this.#wakesAt) this.#rescheduled.abort();
  }

  addFailed(key: string): Millis {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const wait = backoffMillis(this.#backoff, failures);
    this.addAfter(key, wait);
    return wait;
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }

  async next(signal: AbortSignal): Promise<string | undefined> {
    while (!signal.aborted) {
      const key = this.#take();
      if (key !== undefined) return key;
      await this.#added(signal);
    }
    return undefined;
  }

  done(key: string): void {
    this.#working.delete(key);
    const priority = this.#again.get(key);
    this.#again.delete(key);
    if (priority !== undefined) this.add(key, priority);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#rescheduled = new AbortController();
      this.#wakesAt = Number.POSITIVE_INFINITY;
      const now = this.#clock.now();
      let earliest = Number.POSITIVE_INFINITY;
      for (const [key, { at, priority }] of this.#waiting) {
        if (at <= now) {
          this.#waiting.delete(key);
          this.add(key, priority);
        } else earliest = Math.min(earliest, at);
      }
      await this.#sleepUntil(earliest, signal);
    }
  }

  sizes() {
    const { user, refresh } = this.#ready;
    return { ready: user.size + refresh.size, waiting: this.#waiting.size, working: this.#working.size };
  }

  async #sleepUntil(at: Millis, signal: AbortSignal): Promise<void> {
    const rescheduled = this.#rescheduled;
    const stop = () => rescheduled.abort();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    const now = this.#clock.now();
    const wait = Math.ceil(Math.max(at - now, 1) / WAKE_STEP_MILLIS) * WAKE_STEP_MILLIS;
    this.#wakesAt = now + Math.min(wait, IDLE_SLEEP_MILLIS);
    await this.#clock.sleep(this.#wakesAt - now, rescheduled.signal);
    signal.removeEventListener("abort", stop);
  }

  #take(): string | undefined {
    const { user, refresh } = this.#ready;
    const refreshTurn = user.size === 0 || (this.#userTurns >= USER_TURNS_MAX && refresh.size > 0);
    const from = refreshTurn ? refresh : user;
    const [key] = from;
    if (key === undefined) return undefined;
    this.#userTurns = refreshTurn ? 0 : this.#userTurns + 1;
    from.delete(key);
    // Work now is work that need not be done again at the time it was planned for.
    this.#waiting.delete(key);
    this.#working.add(key);
    return key;
  }

  #wakeOne(): void {
    const [taker] = this.#takers;
    taker?.();
  }

  async #added(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => {
      this.#takers.delete(wake);
      signal.removeEventListener("abort", wake);
      resolve();
    };
    this.#takers.add(wake);
    signal.addEventListener("abort", wake, { once: true });
    if (signal.aborted) wake();
    await promise;
  }
}
