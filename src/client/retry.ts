// Which failed calls are worth repeating, and how long to wait in between. Pure, but for the randomness of the jitter.
import { randomInt } from "node:crypto";
import type { Millis } from "#common/clock.ts";

/** First wait; each further one doubles. */
const BACKOFF_FIRST_MILLIS = 250;
/** A longer wait would not help the server and only keeps people waiting. */
const BACKOFF_MAX_MILLIS = 30_000;
/** Doublings beyond this overflow nothing but mean nothing either. */
const DOUBLINGS_MAX = 16;

/** Waits half to all of 250 ms, 500 ms, 1 s, … up to `maxMillis`; `attempt` counts from 0. */
export function backoffMillis(attempt: number, maxMillis: Millis = BACKOFF_MAX_MILLIS): Millis {
  const full = Math.min(BACKOFF_FIRST_MILLIS * 2 ** Math.min(attempt, DOUBLINGS_MAX), maxMillis);
  return Math.floor(full / 2) + randomInt(Math.ceil(full / 2) + 1);
}

export type Outcome = { readonly status: number } | { readonly unsent: boolean; readonly repeatable: boolean };

/**
 * Whether a call may be sent again. A read may after any failure that can pass. A write may only when it certainly had
 * no effect: it never left, or the server refused it (412: data not there yet, 503: sealed or no capacity).
 */
export function mayRepeat(method: string, outcome: Outcome): boolean {
  const isRead = method === "GET" || method === "HEAD";
  if ("status" in outcome) {
    if (outcome.status === 412 || outcome.status === 503) return true;
    return isRead && outcome.status >= 500 && outcome.status !== 501;
  }
  return outcome.repeatable && (isRead || outcome.unsent);
}
