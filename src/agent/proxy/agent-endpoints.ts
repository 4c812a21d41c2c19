// What the proxy answers by itself, at /agent/v1/: cache-clear, quit, metrics. Whoever reaches the listener may call
// them, and that is the pod; a page in a browser may not.
import type { IncomingHttpHeaders } from "node:http";
import type { ListenerConfig } from "#common/agent-config.ts";
import { CofferError } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import { METRICS_CONTENT_TYPE, type Metrics } from "#common/metrics.ts";
import { object, oneOf, string, withDefault } from "#common/schema.ts";
import { NO_CONTENT, type ProxyAnswer } from "./exchange.ts";
import type { ResponseCache } from "./response-cache.ts";

export const AGENT_PREFIX = "/agent/v1/";

export interface AgentEndpoints {
  readonly cache: ResponseCache | undefined;
  readonly metrics: Metrics;
  /** Ends the agent. */
  readonly quit: () => void;
  readonly namespace: string | undefined;
}

interface Asked {
  readonly method: string;
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Of the listener. */
  readonly quit: ListenerConfig["quit"];
  readonly isMetricsOnly: boolean;
}

/** Throws what the answer is to say. */
export function answerAgent(asked: Asked, endpoints: AgentEndpoints): ProxyAnswer {
  const [path = ""] = asked.target.slice(AGENT_PREFIX.length).split("?", 1);
  if (path === "metrics") return metricsAnswer(asked, endpoints);
  if (asked.isMetricsOnly) throw new CofferError("not_found", "this listener has metrics only");
  if (path === "cache-clear") return clearCache(asked, endpoints);
  if (path === "quit") return quit(asked, endpoints);
  throw new CofferError("not_found", "the agent has cache-clear, quit and metrics");
}

function metricsAnswer({ method }: Asked, { metrics }: AgentEndpoints): ProxyAnswer {
  if (method !== "GET") throw new CofferError("unsupported_operation", "metrics are read with GET");
  return { status: 200, headers: { "content-type": METRICS_CONTENT_TYPE }, body: Buffer.from(metrics.render()) };
}

function quit(asked: Asked, endpoints: AgentEndpoints): ProxyAnswer {
  if (asked.quit === undefined) throw new CofferError("permission_denied", "quit is not enabled on this listener");
  requireWrite(asked);
  if (asked.quit === "End") endpoints.quit();
  return NO_CONTENT;
}

const clearing = object({
  type: oneOf("all", "request_path", "lease", "token", "token_accessor"),
  value: withDefault(string, ""),
  namespace: withDefault(string, ""),
});

function clearCache(asked: Asked, { cache, namespace }: AgentEndpoints): ProxyAnswer {
  if (cache === undefined) throw new CofferError("not_found", "the agent keeps no answers: cache is not configured");
  requireWrite(asked);
  const wanted = clearing.parse(parseJson(asked.body.toString("utf8")), "the body");
  const { type, value } = wanted;
  if (type === "all") cache.clear();
  else if (value === "") throw new CofferError("invalid_request", `value is missing: what of type ${type} to clear`);
  else if (type === "request_path") {
    cache.evictPath(value.replace(/^\/?v1\//, ""), wanted.namespace || (namespace ?? ""));
  } else if (type === "lease") cache.evict({ kind: "lease", leaseId: value });
  else if (type === "token") cache.evict({ kind: "token", token: value });
  else cache.evict({ kind: "accessor", accessor: value });
  return NO_CONTENT;
}

function requireWrite({ method, headers }: Asked): void {
  if (method !== "PUT" && method !== "POST") throw new CofferError("unsupported_operation", "use POST");
  if (headers.origin !== undefined) throw new CofferError("permission_denied", "a page of a browser may not do this");
}
