// The agent's proxy of the API: takes requests of the pod, adds the agent's token when asked to, answers from the cache
// what is there, and passes on the rest.
//
//   request --header missing--> 412      --/agent/v1/--> agent-endpoints
//      `--> token --> cached? --yes--> HIT
//                       `--no--> server --> revokes? evict --> lease or token? keep --> MISS
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ApiClient } from "#client/api-client.ts";
import { hasStatus } from "#client/api-error.ts";
import type { TokenKeeper } from "#client/renewal.ts";
import type { AgentConfig, ListenerConfig } from "#common/agent-config.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { methodOf } from "#common/http/list-method.ts";
import type { Log } from "#common/log.ts";
import type { Metrics } from "#common/metrics.ts";
import { AGENT_PREFIX, answerAgent } from "./agent-endpoints.ts";
import { type ConsistencyKeeper, createConsistencyKeeper } from "./consistency.ts";
import { evictionOf } from "./evictions.ts";
import {
  BodyBudget,
  logicalPathOf,
  ownNamespace,
  ownToken,
  type ProxyAnswer,
  type ProxyRequest,
  refusal,
  sendAnswer,
} from "./exchange.ts";
import { hideToken } from "./hide-token.ts";
import { declareProxyMetrics, type ProxyMetrics } from "./proxy-metrics.ts";
import { ResponseCache } from "./response-cache.ts";
import type { Upstream } from "./upstream.ts";

/** How often at most a refused token is looked up. */
const LOOK_MILLIS_MIN = 1_000;

export interface ProxyOptions {
  readonly config: AgentConfig;
  readonly upstream: Upstream;
  /** For the agent's own calls; without a token. */
  readonly client: ApiClient;
  readonly keeper: TokenKeeper;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
  readonly quit: () => void;
}

export interface ApiProxy {
  readonly cache: ResponseCache | undefined;
  /** Answers a request that came to a listener. Never rejects. */
  handle(listener: ListenerConfig, message: IncomingMessage, response: ServerResponse): Promise<void>;
}

interface Running extends ProxyOptions {
  readonly cache: ResponseCache | undefined;
  readonly budget: BodyBudget;
  readonly consistency: ConsistencyKeeper;
  readonly counts: ProxyMetrics;
  /** Requests that are with the server, by their keys: the same ones wait for the first, whose answer may be kept. */
  readonly underWay: Map<string, Promise<unknown>>;
  readonly looked: { at: Millis };
}

export function createProxy(options: ProxyOptions): ApiProxy {
  const { config, keeper, clock } = options;
  const cache = config.cache === true ? new ResponseCache({ clock, autoAuthToken: () => keeper.current() }) : undefined;
  const proxy: Running = {
    ...options,
    cache,
    budget: new BodyBudget(),
    consistency: createConsistencyKeeper(config.proxy?.consistency),
    counts: declareProxyMetrics(options.metrics, () => cache?.size ?? 0),
    underWay: new Map(),
    looked: { at: Number.NEGATIVE_INFINITY },
  };
  return { cache, handle: (listener, message, response) => handle(proxy, listener, message, response) };
}

async function handle(
  proxy: Running,
  listener: ListenerConfig,
  message: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let answer: ProxyAnswer;
  try {
    answer = await answerTo(proxy, listener, message, response);
  } catch (error) {
    const isUpstream = error instanceof CofferError && error.code === "upstream_failed";
    proxy.counts.request(isUpstream ? "failed" : "refused");
    if (isUpstream || !(error instanceof CofferError)) proxy.log.warn("proxy: no answer", { reason: messageOf(error) });
    answer = refusal(error);
    // What is left of a body that was refused is not waited for.
    if (!message.complete) response.setHeader("connection", "close");
  }
  sendAnswer(response, answer);
}

async function answerTo(
  proxy: Running,
  listener: ListenerConfig,
  message: IncomingMessage,
  response: ServerResponse,
): Promise<ProxyAnswer> {
  const { headers, url: target = "" } = message;
  if (listener.requireRequestHeader && headers["x-vault-request"] !== "true") {
    throw new CofferError("precondition_failed", "the header X-Vault-Request: true is missing; send it");
  }
  const method = methodOf(message);
  const isMetricsOnly = listener.metricsOnly === true;
  if (target.startsWith(AGENT_PREFIX)) {
    const { cache, metrics, quit, config } = proxy;
    const asked = { method, target, headers, quit: listener.quit, isMetricsOnly };
    const body = await proxy.budget.read(message, response);
    return answerAgent({ ...asked, body }, { cache, metrics, quit, namespace: config.namespace });
  }
  if (isMetricsOnly) throw new CofferError("not_found", "this listener has metrics only");
  const path = logicalPathOf(target);
  const body = await proxy.budget.read(message, response);
  const namespace = ownNamespace(headers) ?? proxy.config.namespace;
  return answerApi(proxy, { method, path, target, headers, namespace, body, ...(await tokenFor(proxy, headers)) });
}

async function tokenFor(
  { config, keeper }: Running,
  headers: IncomingMessage["headers"],
): Promise<Pick<ProxyRequest, "token" | "isAutoAuth">> {
  const own = ownToken(headers);
  const wanted = config.proxy?.useAutoAuthToken ?? "Never";
  if (wanted === "Never" || (wanted === "WhenMissing" && own !== undefined)) return { token: own, isAutoAuth: false };
  const token = keeper.current();
  if (token === undefined) throw new CofferError("unavailable", "the agent has not logged in yet; try again");
  return { token, isAutoAuth: true };
}

async function answerApi(proxy: Running, request: ProxyRequest): Promise<ProxyAnswer> {
  const { cache, underWay, counts } = proxy;
  if (cache === undefined) {
    const answer = await forward(proxy, request);
    counts.request("forwarded");
    return answer;
  }
  const key = cache.keyOf(request);
  for (;;) {
    const kept = cache.find(key);
    if (kept !== undefined) {
      counts.request("hit");
      return kept;
    }
    const before = underWay.get(key);
    if (before === undefined) break;
    // Only for what is kept there was reason to wait; the others all go now.
    if ((await before) !== true) break;
  }
  const running = forwardAndKeep(proxy, cache, key, request);
  const isKept = running.then(
    (done) => done.isKept,
    () => false,
  );
  if (!underWay.has(key)) {
    underWay.set(key, isKept);
    void isKept.then(() => underWay.delete(key));
  }
  const { answer } = await running;
  counts.request("forwarded");
  return { ...answer, headers: { ...answer.headers, "x-cache": "MISS" } };
}

async function forwardAndKeep(proxy: Running, cache: ResponseCache, key: string, request: ProxyRequest) {
  const answer = await forward(proxy, request);
  const eviction = evictionOf(request.method, request.path, request.body, request.token);
  if (eviction !== undefined && answer.status < 300) cache.evict(eviction);
  return { answer, isKept: cache.store(key, request, answer) };
}

/** Sends it; once more when the agent's token turns out to be dead. */
async function forward(proxy: Running, request: ProxyRequest): Promise<ProxyAnswer> {
  const answer = await forwardOnce(proxy, request);
  if (!request.isAutoAuth || request.token === undefined) return answer;
  if (answer.status === 403 && (await isDead(proxy, request.token))) {
    proxy.log.warn("proxy: the server does not know the agent's token any more, logging in again");
    proxy.keeper.drop(request.token);
    const token = await proxy.keeper.obtain();
    return token === undefined ? answer : hideToken(request.path, await forwardOnce(proxy, { ...request, token }));
  }
  if (request.path === "auth/token/revoke-self" && answer.status < 300) proxy.keeper.drop(request.token);
  return hideToken(request.path, answer);
}

async function forwardOnce({ upstream, consistency }: Running, request: ProxyRequest): Promise<ProxyAnswer> {
  const answer = await upstream.forward(request, consistency.headersFor(request));
  consistency.note(answer);
  return answer;
}

/** A pod that asks for what it may not have must not make the agent ask each time. */
async function isDead({ client, clock, looked, keeper }: Running, token: string): Promise<boolean> {
  if (keeper.current() !== token) return keeper.current() !== undefined;
  if (clock.now() - looked.at < LOOK_MILLIS_MIN) return false;
  looked.at = clock.now();
  try {
    await client.read("auth/token/lookup-self", { token });
    return false;
  } catch (error) {
    return hasStatus(error, 403);
  }
}
