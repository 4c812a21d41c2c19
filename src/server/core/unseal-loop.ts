// Brings a node with an auto seal up by itself and keeps trying for as long as it takes: initialises a fresh store if
// the configuration says how, unseals, and says in the log and in status what it waits for.
import type { Clock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { retryTransient } from "../seal/retry.ts";
import { SealError } from "../seal/seal.ts";
import type { Node } from "./node.ts";

/** An outage of the KMS ends without anybody telling us; this is the longest that a node then stays sealed. */
const WAIT_MILLIS_MAX = 15_000;
const FIRST_WAIT_MILLIS = 500;
/** One call to a seal may take this long before it counts as failed. */
const TRY_MILLIS_MAX = 20_000;

export interface UnsealLoopOptions {
  readonly node: Node;
  readonly clock: Clock;
  readonly log: Log;
  /** Initialises a fresh store; undefined when a person is to do it. */
  readonly initialize: (() => Promise<void>) | undefined;
}

/** Resolves when the node is unsealed or the signal aborts. */
export async function bringUp(options: UnsealLoopOptions, signal: AbortSignal): Promise<void> {
  const { clock, log } = options;
  try {
    await retryTransient((aborted) => attempt(options, aborted ?? signal), {
      clock,
      signal,
      initialMillis: FIRST_WAIT_MILLIS,
      repairMillis: FIRST_WAIT_MILLIS,
      maxMillis: WAIT_MILLIS_MAX,
      onFault: (fault, next) =>
        log.warn("still sealed", { fault: fault.fault, reason: fault.message, nextTryMillis: next.waitMillis }),
    });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** One try. Throws SealError with what keeps the node sealed. */
async function attempt({ node, initialize }: UnsealLoopOptions, signal: AbortSignal): Promise<void> {
  try {
    if ((await node.refresh()) === "uninitialised") {
      if (!initialize)
        throw new SealError(
          "Misconfigured",
          "not initialised: POST sys/init, or give the configuration a bootstrap stanza",
          { transient: true },
        );
      await initialize();
    } else await node.tryAutoUnseal(AbortSignal.any([signal, AbortSignal.timeout(TRY_MILLIS_MAX)]));
  } catch (error) {
    // Whatever failed, storage or a bootstrap request: it may be repaired from outside, and status has to say it.
    node.noteTrouble(error);
    throw error instanceof SealError
      ? error
      : new SealError("Failed", messageOf(error), { transient: true, cause: error });
  }
  if (node.state !== "unsealed") throw new SealError("Failed", describe(node), { transient: true });
}

function describe(node: Node): string {
  const lines = node.troubles.map((trouble) => `seal ${trouble.seal}: ${trouble.fault}: ${trouble.message}`);
  return lines.join("; ") || "no seal of the configuration holds this store's root key";
}
