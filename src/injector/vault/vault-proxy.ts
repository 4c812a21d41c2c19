// The proxy of the agent, as a pod's annotations of vault-k8s want it: a listener on the pod's own loopback device.
import type { AgentConfig, ListenerConfig } from "#common/agent-config.ts";
import type { Pod } from "../pod.ts";
import { keyOf, type VaultAnnotations, wrongAnnotation } from "./read-annotations.ts";

export interface VaultProxy {
  readonly config: Pick<AgentConfig, "listeners" | "proxy" | "cache">;
  readonly warnings: readonly string[];
}

const TOKEN_OF = { true: "WhenMissing", false: "Never", force: "Force" } as const;

/** `isInit`: the agent ends once the files are there. Throws `invalid_request`. */
export function vaultProxy(read: VaultAnnotations, pod: Pod, isInit: boolean): VaultProxy {
  const caches = read.known("cache");
  const quits = read.known("enableQuit");
  if (!caches && !quits) return { config: {}, warnings: [] };
  if (isInit) {
    const which = caches ? "cache" : "enableQuit";
    const warnings = [`${keyOf(which)} has no effect: the agent ends when the files are there`];
    return { config: {}, warnings };
  }
  if (caches && pod.hostNetwork) {
    const why = "the pod has the node's network, where every other such pod would reach the proxy";
    throw wrongAnnotation("cache", `${why}: remove the annotation or hostNetwork`);
  }
  const listener: ListenerConfig = {
    type: "tcp",
    address: `127.0.0.1:${read.known("cachePort")}`,
    requireRequestHeader: false,
    ...(quits ? { quit: "Acknowledge" } : {}),
  };
  if (!caches) return { config: { listeners: [listener] }, warnings: [] };
  return {
    config: {
      listeners: [listener],
      proxy: {
        useAutoAuthToken: TOKEN_OF[read.known("cacheToken")],
        ...(read.known("cacheExit") ? { exitOnError: true } : {}),
      },
      cache: true,
    },
    warnings: [],
  };
}
