// Waits for a seal to become usable: tries again until it works, with growing, jittered pauses, and tells every fault to
// whoever shows it. A fault that somebody has to repair (a disabled key) is tried again as well, since somebody may, but
// less often: each try costs money and a line in CloudTrail.
import { randomInt } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { SealError } from "./seal.ts";

/** The first pause after a fault that may pass by itself. */
const INITIAL_MILLIS = 1000;
/** The first pause after a fault that somebody must repair. */
const REPAIR_MILLIS = 10_000;
/** No pause is longer: an administrator who has repaired something waits at most this long. */
const MAX_MILLIS = 60_000;
const RANDOM_STEPS = 1 << 16;

export interface RetryOptions {
  readonly clock: Clock;
  /** Told of each fault: how many tries there were and how long the pause is. */
  readonly onFault?: (fault: SealError, next: { readonly attempt: number; readonly waitMillis: Millis }) => void;
  /** Ends the waiting; the promise rejects with its reason. */
  readonly signal?: AbortSignal;
  readonly initialMillis?: Millis;
  readonly repairMillis?: Millis;
  readonly maxMillis?: Millis;
  /** 0 (included) to 1 (excluded); for tests. */
  readonly random?: () => number;
}

/** The result of the first try that does not throw a SealError. Any other throw is a bug, and ends it at once. */
export async function retryTransient<T>(
  operation: (signal?: AbortSignal) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted();
    try {
      return await operation(options.signal);
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      options.signal?.throwIfAborted();
      const waitMillis = pause(attempt, error.transient, options);
      options.onFault?.(error, { attempt, waitMillis });
      await options.clock.sleep(waitMillis, options.signal);
    }
  }
}

/** Doubles with each try, up to the maximum; between half and all of it, so that many servers do not knock at once. */
function pause(attempt: number, transient: boolean, options: RetryOptions): Millis {
  const { initialMillis = INITIAL_MILLIS, repairMillis = REPAIR_MILLIS, maxMillis = MAX_MILLIS } = options;
  const random = options.random ?? (() => randomInt(RANDOM_STEPS) / RANDOM_STEPS);
  const full = Math.min((transient ? initialMillis : repairMillis) * 2 ** (attempt - 1), maxMillis);
  return Math.round(full / 2 + (full / 2) * random());
}
