// Waiting times that grow with every failure and are spread, so that many clients do not come back at one instant.
import { randomInt } from "node:crypto";
import type { Millis } from "#common/clock.ts";

export interface Backoff {
  readonly initialMillis: Millis;
  readonly maxMillis: Millis;
}

/** The wait before attempt `failures` + 1: doubled each time up to the maximum, then spread over 50..100 %. */
export function backoffMillis(backoff: Backoff, failures: number): Millis {
  // 2^30 times any initial value is beyond every maximum; more would lose the integer.
  const doublings = Math.min(Math.max(failures - 1, 0), 30);
  const full = Math.min(backoff.initialMillis * 2 ** doublings, backoff.maxMillis);
  return full / 2 + jitterMillis(full / 2);
}

/** A random duration from 0 up to and including `max`. */
export function jitterMillis(max: Millis): Millis {
  return randomInt(0, Math.floor(Math.max(max, 0)) + 1);
}
