// `coffer server -recovery`: listens, lets the seals open, and waits for its end.
import type { ProgramIo } from "#common/program.ts";
import type { ServerConfig } from "../config/server-config.ts";
import { bringUp } from "../core/unseal-loop.ts";
import { type Listener, listen } from "../http/listener.ts";
import { createPages } from "../http/pages.ts";
import { assembleRecovery, type RecoveryParts, type RecoveryServer } from "./recovery-server.ts";

/** Runs until the signal; gives the exit code. Closes the parts. */
export async function runRecovery(
  parts: RecoveryParts,
  config: ServerConfig,
  { signal, clock }: Pick<ProgramIo, "signal" | "clock">,
): Promise<number> {
  const { log } = parts;
  const server = assembleRecovery(parts);
  const listeners = await openListeners(config, server, parts);
  log.warn("recovery mode: only sys/raw and what opens it is served; stop all other servers of this store");
  await server.node.refresh();
  const comingUp = server.node.mayOpenByItself
    ? bringUp({ node: server.node, clock, log, initialize: undefined }, signal)
    : Promise.resolve();
  await ended(signal);
  log.info("stopping");
  await Promise.all(listeners.map((listener) => listener.close()));
  await comingUp;
  server.node.stop();
  const seals = [...parts.seals, ...parts.retiredSeals];
  await Promise.all(seals.map(async (seal) => (seal.kind === "auto" ? seal.close() : undefined)));
  await parts.storage.close();
  return 0;
}

function openListeners(
  { listeners }: ServerConfig,
  { serve }: RecoveryServer,
  { log, clock }: RecoveryParts,
): Promise<readonly Listener[]> {
  const services = {
    ...{ serve, log, clock },
    pages: createPages(async () => ({})),
    crossOrigin: async () => undefined,
    metrics: async () => {
      throw new Error("no listener of recovery mode shows metrics");
    },
  };
  return Promise.all(listeners.map((listener) => listen({ ...listener, unauthenticatedMetrics: false }, services)));
}

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
