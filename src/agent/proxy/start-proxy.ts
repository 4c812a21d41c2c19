// Opens the listeners and keeps the cache alive until the agent ends. A port that is taken is tried again, unless the
// configuration wants the agent to end then.
import { backoffMillis } from "#client/retry.ts";
import type { TlsOptions } from "#client/transport.ts";
import type { ListenerConfig } from "#common/agent-config.ts";
import { messageOf } from "#common/errors.ts";
import { type OpenListener, openListener } from "./listeners.ts";
import { type ApiProxy, createProxy, type ProxyOptions } from "./proxy.ts";
import { renewEntries } from "./renew-entries.ts";
import { createUpstream } from "./upstream.ts";

const TIMEOUT_SECONDS = 60;
const RETRIES = 2;

export interface StartOptions extends Omit<ProxyOptions, "upstream"> {
  readonly tls: TlsOptions;
  readonly signal: AbortSignal;
}

export interface RunningProxy {
  /** Of the listeners, in their order. */
  readonly addresses: readonly string[];
  close(): void;
}

/** Resolves once all listeners are open, or the signal aborts. Throws `unavailable` with exitOnError. */
export async function startProxy(options: StartOptions): Promise<RunningProxy> {
  const { config, keeper, clock, log, signal } = options;
  const upstream = createUpstream({
    ...{ address: config.address, tls: options.tls, clock },
    timeoutMillis: (config.timeoutSeconds ?? TIMEOUT_SECONDS) * 1000,
    retries: config.retries ?? RETRIES,
  });
  const proxy = createProxy({ ...options, upstream });
  const opened: OpenListener[] = [];
  for (const listener of config.listeners ?? []) {
    const open = await openUntilDone(listener, proxy, options);
    if (open === undefined) continue;
    opened.push(open);
    log.info("listening", { address: open.address, cache: config.cache === true });
  }
  const { cache } = proxy;
  if (cache !== undefined) {
    void renewEntries({ cache, client: options.client, autoAuthToken: () => keeper.current(), clock, log, signal });
  }
  return {
    addresses: opened.map(({ address }) => address),
    close() {
      for (const listener of opened) listener.close();
      upstream.close();
    },
  };
}

async function openUntilDone(
  listener: ListenerConfig,
  proxy: ApiProxy,
  { config, clock, log, signal }: StartOptions,
): Promise<OpenListener | undefined> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await openListener(listener, (message, response) => void proxy.handle(listener, message, response));
    } catch (error) {
      if (config.proxy?.exitOnError === true) throw error;
      log.warn("the proxy cannot listen, trying again", { reason: messageOf(error) });
      await clock.sleep(backoffMillis(attempt), signal);
    }
  }
  return undefined;
}
