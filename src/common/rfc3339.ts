// Time stamps as clients of Vault know them: RFC 3339 in UTC with nanoseconds. The clock counts milliseconds, so the
// last six digits are zeros.
import type { Millis } from "./clock.ts";

/** What Go prints for a time that was never set. */
export const ZERO_TIME = "0001-01-01T00:00:00Z";

/** "2026-01-01T00:00:00.123000000Z". */
export function formatTime(millis: Millis): string {
  return new Date(millis).toISOString().replace("Z", "000000Z");
}
