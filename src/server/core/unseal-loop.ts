// Brings a node with an auto seal up by itself and keeps trying for as long as it takes: initialises a fresh store if
// the configuration says how, unseals, and says in the log and in status what it waits for.
import { randomInt } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Node } from "./node.ts";

const FIRST_WAIT_MILLIS = 500;
/** An outage of the KMS ends without anybody telling us; a minute is the longest that a pod then stays sealed. */
const WAIT_MILLIS_MAX = 15_000;
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
  const { node, clock, log } = options;
  for (let wait = FIRST_WAIT_MILLIS; !signal.aborted; wait = Math.min(wait * 2, WAIT_MILLIS_MAX)) {
    const problem = await attempt(options, signal);
    if (node.state === "unsealed") {
      await wrapByNewSeals(options);
      return;
    }
    const pause = jittered(wait);
    log.warn("still sealed", { waitsForMillis: pause, reason: problem });
    await clock.sleep(pause, signal);
  }
}

async function attempt({ node, initialize }: UnsealLoopOptions, signal: AbortSignal): Promise<string> {
  try {
    const state = await node.refresh();
    if (state === "uninitialised") {
      if (!initialize) return "not initialised: POST sys/init, or give the configuration a bootstrap stanza";
      await initialize();
      return "";
    }
    await node.tryAutoUnseal(AbortSignal.any([signal, AbortSignal.timeout(TRY_MILLIS_MAX)]));
    return node.troubles.map((trouble) => `seal ${trouble.seal}: ${trouble.fault}: ${trouble.message}`).join("; ");
  } catch (error) {
    node.noteTrouble(error);
    return messageOf(error);
  }
}

async function wrapByNewSeals({ node, log }: UnsealLoopOptions): Promise<void> {
  try {
    await node.wrapByNewSeals();
  } catch (error) {
    log.warn("a seal could not take its copy of the root key; it will be tried at the next start", {
      error: messageOf(error),
    });
  }
}

function jittered(wait: Millis): Millis {
  return Math.floor(wait / 2) + randomInt(Math.ceil(wait / 2) + 1);
}
