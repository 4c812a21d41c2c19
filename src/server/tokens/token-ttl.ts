// How long a token lives: what was asked for, within what the mount, the role and the token itself allow. Pure.
import type { Seconds } from "#common/clock.ts";
import { formatGoDuration } from "#common/duration.ts";

export interface TtlLimits {
  /** Used when nothing is asked for. */
  readonly defaultSeconds: Seconds;
  /** Of the mount or the role. */
  readonly maxSeconds: Seconds;
  /** Hard end; 0 is none. */
  readonly explicitMaxSeconds: Seconds;
  /** Above 0 the token is periodic: it may be renewed until the hard end, each time by this, at most the maximum. */
  readonly periodSeconds: Seconds;
  /** How long it has lived already (renewals). */
  readonly ageSeconds: Seconds;
}

export interface ResolvedTtl {
  readonly ttlSeconds: Seconds;
  readonly warnings: readonly string[];
}

export function resolveTtl(askedSeconds: Seconds, limits: TtlLimits): ResolvedTtl {
  if (limits.periodSeconds > 0) return resolvePeriod(limits);
  const wanted = askedSeconds > 0 ? askedSeconds : limits.defaultSeconds;
  const cap = shortest(limits.maxSeconds, limits.explicitMaxSeconds);
  const left = cap > 0 ? Math.max(cap - limits.ageSeconds, 0) : wanted;
  if (wanted <= left) return { ttlSeconds: wanted, warnings: [] };
  return { ttlSeconds: left, warnings: askedSeconds > 0 ? [capped("TTL", wanted, left)] : [] };
}

/** The age counts towards the hard end alone. */
function resolvePeriod({ periodSeconds, maxSeconds, explicitMaxSeconds, ageSeconds }: TtlLimits): ResolvedTtl {
  const longest = shortest(maxSeconds, explicitMaxSeconds);
  const period = shortest(periodSeconds, longest);
  const left = explicitMaxSeconds > 0 ? Math.max(explicitMaxSeconds - ageSeconds, 0) : period;
  const warnings = period < periodSeconds ? [capped("period", periodSeconds, longest)] : [];
  return { ttlSeconds: Math.min(period, left), warnings };
}

function capped(what: "TTL" | "period", wanted: Seconds, max: Seconds): string {
  return `${what} of "${shortDuration(wanted)}" exceeded the effective max_ttl of "${shortDuration(max)}"; ${what} value is capped accordingly`;
}

/** The earlier of two hard ends, where 0 is none. */
export function shortest(a: Seconds, b: Seconds): Seconds {
  return a > 0 && b > 0 ? Math.min(a, b) : a || b;
}

/** "768h" rather than "768h0m0s". */
function shortDuration(seconds: Seconds): string {
  return formatGoDuration(seconds)
    .replace(/(\D)0s$/, "$1")
    .replace(/h0m$/, "h");
}
