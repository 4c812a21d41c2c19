// Keeps what the cache holds alive: renews leases and tokens when they are due, and drops what cannot be renewed. Some
// at a time, so that a cache that fills at once is no burst on the server later.
import { randomInt } from "node:crypto";
import type { ApiClient } from "#client/api-client.ts";
import { ApiError } from "#client/api-error.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { CacheEntry, ResponseCache } from "./response-cache.ts";

const AT_ONCE = 4;
const WAIT_MILLIS_MIN = 1_000;
/** Of what is left of a lease the next attempt takes a quarter, give or take a tenth. */
const RETRY_SHARE = 1 / 4;
const JITTER_PERCENT = 10;

export interface RenewalOptions {
  readonly cache: ResponseCache;
  readonly client: ApiClient;
  readonly autoAuthToken: () => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Until the signal aborts. Never rejects. */
export async function renewEntries(options: RenewalOptions): Promise<void> {
  const { cache, clock, signal } = options;
  let before: string | undefined;
  while (!signal.aborted) {
    before = dropOldLogin(options, before);
    const now = clock.now();
    const due = cache.entries().filter(({ renewAt }) => renewAt <= now);
    if (due.length === 0) await cache.untilDue(signal);
    else await Promise.all(due.slice(0, AT_ONCE).map((entry) => renewOne(entry, options)));
  }
}

/** After a new login the leases of the former token are nobody's. Gives the token that counts now. */
function dropOldLogin({ cache, autoAuthToken }: RenewalOptions, before: string | undefined): string | undefined {
  const current = autoAuthToken() ?? before;
  if (before !== undefined && current !== before) cache.evict({ kind: "token", token: before });
  return current;
}

async function renewOne(entry: CacheEntry, { cache, client, clock, log, signal }: RenewalOptions): Promise<void> {
  const about = { path: entry.path };
  if (entry.isLast || entry.expiresAt <= clock.now()) {
    log.debug("a cached answer comes to its end", about);
    return cache.remove(entry);
  }
  try {
    cache.renewed(entry, await renew(entry, client, signal));
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError && error.retryable)) {
      log.warn("a cached answer could not be renewed and is dropped", { ...about, reason: messageOf(error) });
      return cache.evict(evictionOf(entry));
    }
    log.warn("a cached answer could not be renewed yet", { ...about, reason: messageOf(error) });
    cache.postpone(entry, retryMillis(entry.expiresAt - clock.now()));
  }
}

function evictionOf({ kind, ownToken, leaseId }: CacheEntry) {
  return kind === "token" ? ({ kind, token: ownToken } as const) : ({ kind, leaseId } as const);
}

/** Gives the seconds that it now has. Rejects as the client does. */
async function renew(entry: CacheEntry, client: ApiClient, signal: AbortSignal): Promise<number> {
  const token = entry.kind === "token" ? entry.ownToken : entry.token;
  const authorized = client.with({ token, namespace: entry.namespace === "" ? undefined : entry.namespace });
  if (entry.kind === "lease") {
    return (await authorized.write("sys/leases/renew", { lease_id: entry.leaseId }, { signal })).lease_duration;
  }
  const { auth } = await authorized.write("auth/token/renew-self", {}, { signal });
  return auth?.lease_duration ?? 0;
}

function retryMillis(left: Millis): Millis {
  const wait = left * RETRY_SHARE;
  const spread = Math.floor((wait * JITTER_PERCENT) / 100);
  return Math.max(wait - spread + (spread > 0 ? randomInt(2 * spread + 1) : 0), WAIT_MILLIS_MIN);
}
