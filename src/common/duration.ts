// Durations as people and Go write them: "90", "90s", "1h30m", "1.5h", "2d". Seconds on the inside.
import type { Seconds } from "./clock.ts";

const UNIT_SECONDS: Readonly<Record<string, number>> = {
  ns: 1e-9,
  us: 1e-6,
  µs: 1e-6,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
};
/** 2^63 ns, about 292 years: the longest duration of clients in Go, and no date overflows by adding it. */
export const DURATION_SECONDS_MAX: Seconds = 9_223_372_036;
const PART = /(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/y;

/**
 * Seconds of a duration text, cut to whole seconds, or undefined when it is none or longer than any may be. A bare
 * number is seconds.
 */
export function parseDurationSeconds(text: string): Seconds | undefined {
  const seconds = parseSeconds(text);
  return seconds === undefined || Math.abs(seconds) > DURATION_SECONDS_MAX ? undefined : seconds;
}

function parseSeconds(text: string): Seconds | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return 0;
  if (/^-?\d+(\.\d+)?$/.test(trimmed)) return Math.trunc(Number(trimmed));
  const sign = trimmed.startsWith("-") ? -1 : 1;
  const body = trimmed.replace(/^[-+]/, "");
  let total = 0;
  PART.lastIndex = 0;
  for (let at = 0; at < body.length; at = PART.lastIndex) {
    const match = PART.exec(body);
    if (!match) return undefined;
    total += Number(match[1]) * (UNIT_SECONDS[match[2] ?? ""] ?? Number.NaN);
  }
  return sign * Math.trunc(total + 1e-9);
}

/** As Go prints a duration: "3h25m19s", "0s". */
export function formatGoDuration(seconds: Seconds): string {
  const whole = Math.abs(Math.trunc(seconds));
  const h = Math.floor(whole / 3600);
  const m = Math.floor((whole % 3600) / 60);
  const s = whole % 60;
  const body = h > 0 ? `${h}h${m}m${s}s` : m > 0 ? `${m}m${s}s` : `${s}s`;
  return seconds < 0 ? `-${body}` : body;
}
