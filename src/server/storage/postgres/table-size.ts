// How large the store's table is, asked for when somebody wants to know and not more than once a minute. Databases that
// only speak the protocol may not know it; then nothing is told.
import type { Clock, Millis } from "#common/clock.ts";
import type { StorageUsage } from "../storage.ts";
import type { SessionPool } from "./session-pool.ts";
import { quoted } from "./statements.ts";

const LIFE_MILLIS: Millis = 60_000;

export class TableSize {
  readonly #pool: SessionPool;
  readonly #clock: Clock;
  readonly #text: string;
  #asked: Millis = Number.NEGATIVE_INFINITY;
  #usage: StorageUsage | undefined;

  constructor(pool: SessionPool, table: string, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
    // All of it: the index and the values that stand outside of their rows; what vacuum has freed counts as well.
    this.#text = `SELECT pg_total_relation_size('${quoted(table)}')`;
  }

  /** As it was last known; asks anew when that is old. */
  get usage(): StorageUsage | undefined {
    if (this.#clock.now() - this.#asked >= LIFE_MILLIS) void this.#ask();
    return this.#usage;
  }

  async #ask(): Promise<void> {
    this.#asked = this.#clock.now();
    try {
      const [row] = await this.#pool.use((session) => session.script(this.#text));
      const sizeBytes = Number(row?.[0] ?? Number.NaN);
      this.#usage = Number.isFinite(sizeBytes) ? { sizeBytes, usedBytes: undefined } : undefined;
    } catch {
      this.#usage = undefined;
    }
  }
}
