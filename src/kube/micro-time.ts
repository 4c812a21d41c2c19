// The two spellings of time in Kubernetes objects: metav1.Time in whole seconds, metav1.MicroTime in microseconds.
import type { Millis } from "#common/clock.ts";

/** "2026-01-01T00:00:00.000000Z" */
export function microTime(at: Millis): string {
  return new Date(at).toISOString().replace("Z", "000Z");
}

/** "2026-01-01T00:00:00Z" */
export function secondTime(at: Millis): string {
  return new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
}
