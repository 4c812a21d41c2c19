// The stanzas listener, api_proxy and cache: where the agent takes requests to the server, and what it does with them
// (docs/guides/agent-proxy.md). It opens nothing.
import { resolve } from "node:path";
import type { AgentConfig, ListenerConfig } from "#common/agent-config.ts";
import { type ConfigValues, readFields } from "#common/hcl/config-fields.ts";
import { type HclObject, hclError, type Position } from "#common/hcl/syntax-tree.ts";
import { hostAndPort, isLoopback } from "../proxy/listen-address.ts";
import { type LooseBlock, looseBlocks, oneBlock } from "./loose-blocks.ts";
import { AGENT_API_FIELDS, API_PROXY_FIELDS, CACHE_FIELDS, LISTENER_FIELDS } from "./stanzas.ts";

export type ProxyStanzas = Pick<AgentConfig, "proxy" | "cache"> & { readonly listeners: readonly ListenerConfig[] };
type ListenerValues = ConfigValues<typeof LISTENER_FIELDS>;

/** Ports and sockets of one agent; a machine needs one, a test some. */
const LISTENERS_MAX = 16;
const LISTENER_BLOCKS = ["agent_api"];

/** Throws `invalid_request` naming the file, the position and the setting. */
export function readProxy(document: HclObject, warnings: string[]): ProxyStanzas {
  const known = [...Object.keys(LISTENER_FIELDS), ...LISTENER_BLOCKS];
  const blocks = looseBlocks(document, "listener", known);
  const last = blocks[LISTENERS_MAX];
  if (last) throw hclError(last.position, `there are more than ${LISTENERS_MAX} listeners`);
  const listeners = blocks.map((block) => readListener(block, warnings));
  const proxy = oneBlock(document, "api_proxy");
  const cache = oneBlock(document, "cache");
  const idle = listeners.length === 0 ? (proxy ?? cache) : undefined;
  if (idle) throw hclError(idle.position, 'api_proxy and cache need a listener: write listener "tcp" { … }');
  const ofCache = cache && readFields(cache.body, CACHE_FIELDS, { where: "cache", warnings });
  const ofProxy = proxy && readFields(proxy.body, API_PROXY_FIELDS, { where: "api_proxy", warnings });
  if (proxy && ofCache && ofCache.use_auto_auth_token !== "Never")
    throw hclError(cache.position, "use_auto_auth_token stands in api_proxy; leave it out of cache");
  const isConsistent = ofProxy?.enforce_consistency === "always";
  return {
    listeners,
    cache: cache !== undefined,
    proxy: {
      useAutoAuthToken: ofProxy?.use_auto_auth_token ?? ofCache?.use_auto_auth_token ?? "Never",
      ...(isConsistent && { consistency: ofProxy.when_inconsistent === "forward" ? "Forward" : "Fail" }),
      // Whoever starts it on a machine is to hear that the port is taken; in a pod it is tried again.
      exitOnError: true,
    },
  };
}

function readListener(block: LooseBlock, warnings: string[]): ListenerConfig {
  const { body, label, position } = block;
  const where = label === undefined ? "listener" : `listener "${label}"`;
  const values = readFields(body, LISTENER_FIELDS, { where, alsoKnown: LISTENER_BLOCKS, warnings });
  const type = label ?? values.type;
  if (type !== "tcp" && type !== "unix") throw hclError(position, `${where} must be of the type tcp or unix`);
  const api = oneBlock(body, "agent_api");
  const isEnding = api && readFields(api.body, AGENT_API_FIELDS, { where: "agent_api", warnings }).enable_quit;
  return {
    ...(type === "tcp" ? tcpPlace(values, where, position) : unixPlace(values, where, position)),
    requireRequestHeader: values.require_request_header,
    ...(values.role === "metrics_only" && { metricsOnly: true }),
    ...(isEnding && { quit: "End" as const }),
  };
}

function tcpPlace(values: ListenerValues, where: string, position: Position) {
  const { address = "127.0.0.1:8200", remote, tls_disable: isPlain, tls_cert_file: cert, tls_key_file: key } = values;
  if (!isLoopback(hostAndPort(address).host) && !remote)
    throw hclError(
      position,
      `${where}: ${address} can be reached from other machines, which then have the agent's rights; use 127.0.0.1, or set remote = true`,
    );
  if (isPlain) return { type: "tcp" as const, address, remote };
  if (cert === undefined || key === undefined)
    throw hclError(position, `${where}: give tls_cert_file and tls_key_file, or tls_disable = true`);
  return { type: "tcp" as const, address, remote, tls: { certificateFile: cert, keyFile: key } };
}

function unixPlace({ address, socket_mode: socketMode }: ListenerValues, where: string, position: Position) {
  if (address === undefined) throw hclError(position, `${where} has no address: the path of its socket`);
  return { type: "unix" as const, address, socketMode };
}

/** With the paths of sockets, certificates and keys made absolute. */
export function placedListeners(listeners: readonly ListenerConfig[], cwd: string): readonly ListenerConfig[] {
  return listeners.map((listener) => ({
    ...listener,
    address: listener.type === "unix" ? resolve(cwd, listener.address) : listener.address,
    ...(listener.tls && {
      tls: {
        certificateFile: resolve(cwd, listener.tls.certificateFile),
        keyFile: resolve(cwd, listener.tls.keyFile),
      },
    }),
  }));
}
