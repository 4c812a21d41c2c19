// Random choices that a printed seed brings back. For tests only: nothing about it is hard to guess.
import { randomInt } from "node:crypto";

const SEED_MAX = 2 ** 31;

export class SeededRandom {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  /** From 0, below 1: mulberry32 (Tommy Ettinger, public domain). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** From `low`, below `high`. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low));
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.integer(0, items.length)];
    if (item === undefined) throw new Error("there is nothing to pick from");
    return item;
  }
}

/** The seed of COFFER_SEED, or a new one. */
export function chosenSeed(): number {
  const given = process.env["COFFER_SEED"];
  return given === undefined ? randomInt(SEED_MAX) : Number(given);
}
