// auto_auth with wrap_ttl of the method: the token comes wrapped and goes to the sinks as it came. Nobody here opens it,
// so nobody here renews it, and there is nothing to revoke.
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Login } from "../auth/auth-method.ts";
import { type TokenSinks, writeWrapped } from "./token-sinks.ts";

export interface WrappedLogin {
  readonly login: Login;
  readonly sinks: Pick<TokenSinks, "sinks" | "cwd" | "log">;
  readonly wait: (attempt: number) => Millis;
  /** End once it is written; else stay until told to end, as those expect who watch the process. */
  readonly isOnce: boolean;
  readonly exitOnError: boolean;
  readonly log: Log;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Sleeps are cut to this by the clock; nothing happens when one ends. */
const IDLE_MILLIS = 86_400_000;

export async function keepWrapped(options: WrappedLogin): Promise<void> {
  const { login, sinks, wait, isOnce, exitOnError, log, clock, signal } = options;
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      const { wrap_info } = await login(signal);
      if (wrap_info === undefined) throw new CofferError("upstream_failed", "the server did not wrap the token");
      await writeWrapped(wrap_info, sinks);
      log.info("wrapped token written", { sinks: sinks.sinks.length });
      break;
    } catch (error) {
      if (signal.aborted) return;
      if (exitOnError) throw error;
      log.warn("login failed, trying again", { reason: messageOf(error), waitMillis: wait(attempt) });
      await clock.sleep(wait(attempt), signal);
    }
  }
  while (!isOnce && !signal.aborted) await clock.sleep(IDLE_MILLIS, signal);
}
