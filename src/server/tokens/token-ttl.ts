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
  /** Above 0 the token is periodic and only the hard end limits it. */
  readonly periodSeconds: Seconds;
  /** How long it has lived already (renewals). */
  readonly ageSeconds: Seconds;
}

export interface ResolvedTtl {
  readonly ttlSeconds: Seconds;
  readonly warnings: readonly string[];
}

export function resolveTtl(askedSeconds: Seconds, limits: TtlLimits): ResolvedTtl {
  const periodic = limits.periodSeconds > 0;
  const wanted = periodic ? limits.periodSeconds : askedSeconds > 0 ? askedSeconds : limits.defaultSeconds;
  const caps = [periodic ? 0 : limits.maxSeconds, limits.explicitMaxSeconds].filter((cap) => cap > 0);
  if (caps.length === 0) return { ttlSeconds: wanted, warnings: [] };
  const cap = Math.min(...caps);
  const left = Math.max(cap - limits.ageSeconds, 0);
  if (wanted <= left) return { ttlSeconds: wanted, warnings: [] };
  const warnings =
    askedSeconds > 0 || periodic
      ? [
          `TTL of "${shortDuration(wanted)}" exceeded the effective max_ttl of "${shortDuration(left)}"; TTL value is capped accordingly`,
        ]
      : [];
  return { ttlSeconds: left, warnings };
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
