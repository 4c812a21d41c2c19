// Keeps a token alive: renews it at two thirds of its ttl and logs in again when it cannot be renewed any more.
//
//   none --login--> held --2/3 of ttl--> renewing --ok--> held
//                    |                      `--refused, or little ttl gained (max ttl is near)--> none
//                    `--refused by a caller (drop)--> none
import { randomInt } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import { type Log, silentLog } from "#common/log.ts";
import type { ApiClient } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import type { Auth } from "./envelope.ts";
import { backoffMillis } from "./retry.ts";

/** Share of the ttl after which a token is renewed; the rest is for retries. */
const RENEW_AT = 2 / 3;
/** A renewal that gives less than this share of the first ttl ran into the maximum: a new login gives a whole one. */
const WORTH_RENEWING = 1 / 2;
/** A token without ttl (root) is looked at no more often than this. */
const IDLE_MILLIS = 3_600_000;
/** Very short ttls must not make a busy loop. */
const WAIT_MILLIS_MIN = 1_000;

export interface TokenKeeperOptions {
  /** Only its address and connections are used, never its token. */
  readonly client: ApiClient;
  /** One attempt to log in. */
  readonly login: (signal: AbortSignal) => Promise<Auth>;
  readonly clock: Clock;
  /** Ends everything. */
  readonly signal: AbortSignal;
  readonly log?: Log | undefined;
  /** A token of before, which is as good as one of a login until the server refuses it. */
  readonly initial?: HeldToken | undefined;
  /** Told each token, and each renewal of it. */
  readonly changed?: ((held: HeldToken) => void) | undefined;
  /** The wait after a login that failed; `attempt` counts from 0. */
  readonly waitAfter?: ((attempt: number) => Millis) | undefined;
  /** Renewals are put off by a random share of what is left of the ttl, up to this: many agents start at once. */
  readonly jitter?: number | undefined;
}

export interface TokenKeeper {
  /** The token held, or undefined. */
  current(): string | undefined;
  /** A token: the one held, else of a login that is repeated with backoff until it succeeds. Undefined once aborted. */
  obtain(): Promise<string | undefined>;
  /** Forgets a token that the server has refused; the next `obtain` logs in. */
  drop(token: string): void;
  /** Renews and logs in as needed until the signal aborts. Never rejects. */
  run(): Promise<void>;
}

/** A token and its times, in milliseconds since the epoch. */
export interface HeldToken {
  readonly token: string;
  readonly renewable: boolean;
  readonly firstTtlMillis: Millis;
  readonly renewAt: Millis;
  readonly expiresAt: Millis;
}

/** A keeper that holds nothing yet. */
export function createTokenKeeper(options: TokenKeeperOptions): TokenKeeper {
  const { clock, signal } = options;
  const log = options.log ?? silentLog;
  let held = options.initial;
  let underWay: Promise<void> | undefined;
  let wake = new AbortController();

  const loginUntilDone = async () => {
    for (let attempt = 0; held === undefined && !signal.aborted; attempt++) {
      try {
        held = holdingFrom(await options.login(signal), clock.now(), options.jitter);
        options.changed?.(held);
        log.info("logged in", { ttlSeconds: held.firstTtlMillis / 1000 });
      } catch (error) {
        if (signal.aborted) return;
        const waitMillis = options.waitAfter?.(attempt) ?? backoffMillis(attempt);
        log.warn("login failed, trying again", { reason: messageOf(error), waitMillis });
        await clock.sleep(waitMillis, signal);
      }
    }
  };
  const obtain = async () => {
    if (held === undefined) {
      underWay ??= loginUntilDone().finally(() => {
        underWay = undefined;
      });
      await underWay;
    }
    return held?.token;
  };
  const drop = (token: string) => {
    if (held?.token !== token) return;
    held = undefined;
    wake.abort();
  };
  const renew = async (before: HeldToken) => {
    const after = await renewed(options, before, log);
    // A caller may have dropped the token meanwhile.
    if (held !== before) return;
    held = after;
    if (after !== undefined) options.changed?.(after);
  };
  const run = async () => {
    while (!signal.aborted) {
      await obtain();
      if (held === undefined) continue;
      if (clock.now() >= held.renewAt) {
        await renew(held);
        continue;
      }
      wake = new AbortController();
      await clock.sleep(held.renewAt - clock.now(), AbortSignal.any([signal, wake.signal]));
    }
  };
  return { current: () => held?.token, obtain, drop, run };
}

function holdingFrom(auth: Auth, now: Millis, jitter = 0, firstTtlMillis = auth.lease_duration * 1000): HeldToken {
  const ttlMillis = auth.lease_duration * 1000;
  const late = Math.floor(ttlMillis * (1 - RENEW_AT) * jitter);
  const renewIn = ttlMillis * RENEW_AT + (late === 0 ? 0 : randomInt(late));
  const wait = ttlMillis === 0 ? IDLE_MILLIS : Math.max(renewIn, WAIT_MILLIS_MIN);
  return {
    token: auth.client_token,
    renewable: auth.renewable,
    firstTtlMillis,
    renewAt: now + wait,
    expiresAt: ttlMillis === 0 ? Number.POSITIVE_INFINITY : now + ttlMillis,
  };
}

/** The token after its renewal, or undefined when a login must follow. */
async function renewed(
  { client, clock, signal, jitter }: TokenKeeperOptions,
  held: HeldToken,
  log: Log,
): Promise<HeldToken | undefined> {
  if (held.expiresAt === Number.POSITIVE_INFINITY) return { ...held, renewAt: clock.now() + IDLE_MILLIS };
  if (!held.renewable) return undefined;
  try {
    const { auth } = await client.write("auth/token/renew-self", {}, { token: held.token, signal });
    if (auth === undefined || auth.lease_duration * 1000 < held.firstTtlMillis * WORTH_RENEWING) return undefined;
    log.debug("token renewed", { ttlSeconds: auth.lease_duration });
    return holdingFrom(auth, clock.now(), jitter, held.firstTtlMillis);
  } catch (error) {
    if (signal.aborted) return held;
    log.warn("token was not renewed", { reason: messageOf(error) });
    const passing = error instanceof ApiError && error.retryable;
    const left = held.expiresAt - clock.now();
    if (!passing || left <= WAIT_MILLIS_MIN) return undefined;
    return { ...held, renewAt: clock.now() + Math.max(left / 4, WAIT_MILLIS_MIN) };
  }
}
