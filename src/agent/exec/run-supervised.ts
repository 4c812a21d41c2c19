// Runs an agent and a program together: the program starts when everything is there, and when either ends the other does.

import type { Log } from "#common/log.ts";
import type { ProgramIo } from "#common/program.ts";
import { Supervisor, type SupervisorOptions } from "./supervisor.ts";
import type { Variables } from "./variables.ts";

/** Passed on as they are; SIGTERM and SIGINT end both, SIGHUP is the caller's. */
const FORWARDED = ["SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGWINCH", "SIGCONT"] as const;
/** A program is not to have the token that fetched its secrets. */
const TOKEN_VARIABLES = ["COFFER_TOKEN", "VAULT_TOKEN", "BAO_TOKEN"];

export interface Supervised {
  readonly program: Pick<SupervisorOptions, "command" | "stopSignal" | "killMillis" | "restarts">;
  readonly variables: Variables;
  readonly io: ProgramIo;
  readonly log: Log;
  /** Whether SIGHUP is for the program. */
  readonly forwardsHangup: boolean;
  /** Runs the agent until the signal aborts; calls `ready` after each round in which all was there. */
  readonly agent: (signal: AbortSignal, ready: () => void) => Promise<void>;
}

/** Gives the program's exit status. Rejects when the agent fails before the program runs. */
export async function runSupervised(options: Supervised): Promise<number> {
  const { program, variables, io, log, agent } = options;
  const env = Object.fromEntries(Object.entries(io.env).filter(([name]) => !TOKEN_VARIABLES.includes(name)));
  const supervisor = new Supervisor({ ...program, env, clock: io.clock, log });
  for (const name of FORWARDED) io.onSignal?.(name, () => supervisor.forward(name));
  if (options.forwardsHangup) io.onHangup?.(() => supervisor.forward("SIGHUP"));
  const end = new AbortController();
  const status = supervisor.ended.then((code) => {
    end.abort("the program ended");
    return code;
  });
  const isInterrupt = () => io.signal.reason === "SIGINT";
  const stop = () => void supervisor.stop(isInterrupt() ? "SIGINT" : undefined);
  if (io.signal.aborted) stop();
  io.signal.addEventListener("abort", stop, { once: true });
  try {
    // The program ends first: until then its credentials have to work.
    await agent(end.signal, () => {
      if (!io.signal.aborted) supervisor.update(variables.all());
    });
  } finally {
    io.signal.removeEventListener("abort", stop);
    await supervisor.stop();
  }
  return status;
}
