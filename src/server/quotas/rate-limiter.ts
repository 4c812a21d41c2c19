// Token buckets in the memory of this process: how much of its allowance each client has used. The invariant that
// nothing authoritative lives in memory (I2) holds for the quotas' definitions; counts of the last seconds are worth
// nothing after a restart and would cost a write per request in storage. Each server counts for itself: where it has
// several worker processes, one limiter in their supervisor counts for all of them.
import type { Clock, Millis } from "#common/clock.ts";

export interface Allowance {
  /** Requests in an interval; may be a fraction. */
  readonly rate: number;
  readonly intervalSeconds: number;
  readonly blockSeconds: number;
}

export interface RateVerdict {
  readonly allowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Until the whole allowance is there again; of a refusal, until the next request may come. Rounded up. */
  readonly resetSeconds: number;
}

/** Where requests are counted: here, or for several processes in one place. Throws `unavailable`. */
export interface RateCounter {
  take(client: string, allowance: Allowance): Promise<RateVerdict> | RateVerdict;
}

interface Bucket {
  tokens: number;
  at: Millis;
  blockedUntil: Millis;
}

/** Clients that are remembered, some 100 bytes each. Beyond, the one that was quiet the longest is forgotten. */
export const BUCKETS_MAX = 100_000;

export class RateLimiter implements RateCounter {
  readonly #clock: Clock;
  readonly #max: number;
  /** In the order of their last use. */
  readonly #buckets = new Map<string, Bucket>();
  constructor(clock: Clock, max = BUCKETS_MAX) {
    this.#clock = clock;
    this.#max = max;
  }

  /** Takes one request out of a client's allowance. */
  take(client: string, allowance: Allowance): RateVerdict {
    const now = this.#clock.now();
    const capacity = Math.max(allowance.rate, 1);
    const perMilli = allowance.rate / (allowance.intervalSeconds * 1000);
    const bucket = this.#buckets.get(client) ?? { tokens: capacity, at: now, blockedUntil: 0 };
    bucket.tokens = Math.min(capacity, bucket.tokens + Math.max(0, now - bucket.at) * perMilli);
    bucket.at = now;
    this.#remember(client, bucket);
    const limit = Math.floor(capacity);
    if (now < bucket.blockedUntil)
      return { allowed: false, limit, remaining: 0, resetSeconds: seconds(bucket.blockedUntil - now) };
    if (bucket.tokens < 1) {
      bucket.blockedUntil = allowance.blockSeconds > 0 ? now + allowance.blockSeconds * 1000 : 0;
      const wait = Math.max(bucket.blockedUntil - now, (1 - bucket.tokens) / perMilli);
      return { allowed: false, limit, remaining: 0, resetSeconds: seconds(wait) };
    }
    bucket.tokens -= 1;
    const untilFull = (capacity - bucket.tokens) / perMilli;
    return { allowed: true, limit, remaining: Math.floor(bucket.tokens), resetSeconds: seconds(untilFull) };
  }

  get size(): number {
    return this.#buckets.size;
  }

  #remember(client: string, bucket: Bucket): void {
    this.#buckets.delete(client);
    this.#buckets.set(client, bucket);
    if (this.#buckets.size <= this.#max) return;
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}

function seconds(millis: Millis): number {
  return Math.ceil(millis / 1000);
}
