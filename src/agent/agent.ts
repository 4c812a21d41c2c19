// The agent's life: log in, deliver until everything is there, say so (ready file), then refresh until told to end.
//
//   login --> first delivery --all there--> ready --Init--> end
//               ^   `-- something blocks: wait, try again     `--Sidecar--> refresh each interval --SIGTERM--> revoke, end
//
// It never gives up: a pod that waits says in its log what for; one that crash-loops only makes noise.
import { randomInt } from "node:crypto";
import type { ApiClient } from "#client/api-client.ts";
import { hasStatus } from "#client/api-error.ts";
import { loginWithKubernetes } from "#client/kubernetes-login.ts";
import { createTokenKeeper, type TokenKeeper } from "#client/renewal.ts";
import { backoffMillis } from "#client/retry.ts";
import type { TlsOptions } from "#client/transport.ts";
import type { AgentConfig } from "#common/agent-config.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { type ChangeSignal, createDelivery, type Delivery, type DeliveryReport } from "./delivery.ts";
import { ChangeFeed } from "./events/change-feed.ts";
import type { RunningProxy } from "./proxy/start-proxy.ts";
import { signalProcesses } from "./signal-processes.ts";
import { createSourceReader, type SourceReader, type SourceResults } from "./sources.ts";
import type { TemplateSet } from "./template/template-set.ts";
import { writeFileAtomically } from "./write-file.ts";

/** Longest wait between attempts of the first delivery: someone may be writing the secret just now. */
const FIRST_DELIVERY_WAIT_MILLIS_MAX = 15_000;
/** A pod's end must not wait for a server that is away. */
const REVOKE_MILLIS = 2_000;
/** Leased credentials of a few seconds must not make a busy loop. */
const WAIT_MILLIS_MIN = 1_000;
/** Others may look whether it exists; it holds nothing. */
const READY_FILE_MODE = 0o444;

export interface AgentParts {
  readonly config: AgentConfig;
  /** A client without a token; the agent logs in by itself. */
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** What templates see of the environment. */
  readonly variables: Readonly<Record<string, string>>;
  /** How the proxy's own connections to the server are made; those of `client` know it already. */
  readonly tls?: TlsOptions | undefined;
}

interface Running extends AgentParts {
  readonly keeper: TokenKeeper;
  readonly reader: SourceReader;
  readonly delivery: Delivery;
  /** Tells changes; undefined where nobody asked to hear of them. */
  readonly feed: ChangeFeed | undefined;
}

/** Runs to the end: of the first delivery ("Init") or of the pod ("Sidecar"). Never rejects for the server's sake. */
export async function runAgent(given: AgentParts): Promise<void> {
  const ending = new AbortController();
  const parts = { ...given, signal: AbortSignal.any([given.signal, ending.signal]) };
  const { config, client, clock, log, signal } = parts;
  const templates = await loadTemplates(parts);
  const login = (abort: AbortSignal) => loginWithKubernetes(client, config.auth, abort);
  const keeper = createTokenKeeper({ client, login, clock, signal, log: log.with({ role: config.auth.role }) });
  const authorized = client.with({ token: () => keeper.current(), namespace: client.namespace });
  const reader = createSourceReader({
    ...{ client: authorized, clock, templates },
    sources: config.sources,
    replaceLeaseAt: config.replaceLeaseAt,
  });
  const hears = config.mode === "Sidecar" && config.events !== false;
  const feed = hears ? new ChangeFeed({ client: authorized, clock, log, signal }) : undefined;
  const agent: Running = { ...parts, keeper, reader, feed, delivery: createDelivery(config, templates) };
  log.info("logging in", { address: config.address, mount: config.auth.mount, role: config.auth.role });
  await keeper.obtain();
  const proxy = await openProxy(parts, keeper, () => ending.abort("quit"));
  const renewing = config.mode === "Sidecar" ? keeper.run() : Promise.resolve();
  const last = await deliverUntilReady(agent);
  if (last !== undefined && config.mode === "Sidecar") await Promise.all([refreshUntilEnd(agent, last), feed?.run()]);
  await renewing;
  proxy?.close();
  if (config.revokeOnExit === false) return;
  // An "Init" agent leaves leased credentials to the pod, and they would end with its token.
  if (signal.aborted || last === undefined || nextLeaseAt(last) === undefined) await revoke(agent);
}

/** As the templates' code, this is loaded where it is used. Throws `unavailable` when it must listen and cannot. */
async function openProxy(
  { config, client, clock, log, signal, tls = {} }: AgentParts,
  keeper: TokenKeeper,
  quit: () => void,
): Promise<RunningProxy | undefined> {
  if (config.listeners === undefined || config.listeners.length === 0) return undefined;
  const [{ startProxy }, { createMetrics }] = await Promise.all([
    import("./proxy/start-proxy.ts"),
    import("#common/metrics.ts"),
  ]);
  return startProxy({ config, client, keeper, metrics: createMetrics(), clock, log, signal, tls, quit });
}

/** The templates' code costs memory, and most pods have none. Throws `invalid_request` naming line and column. */
async function loadTemplates({ config, variables, clock }: AgentParts): Promise<TemplateSet | undefined> {
  if (!config.files.some((file) => file.format === "Template")) return undefined;
  const { createTemplateSet } = await import("./template/template-set.ts");
  return createTemplateSet(config, variables, clock);
}

async function deliverUntilReady(agent: Running): Promise<SourceResults | undefined> {
  const { config, clock, log, signal } = agent;
  for (let attempt = 0; !signal.aborted; attempt++) {
    const round = await deliverOnce(agent);
    if (round !== undefined && !round.report.problems.some((problem) => problem.isBlocking)) {
      await writeFileAtomically(config.readyFile, "ready\n", READY_FILE_MODE);
      log.info("ready", { files: round.report.written.length + round.report.unchanged });
      return round.results;
    }
    if (signal.aborted) return undefined;
    const waitMillis = backoffMillis(attempt, FIRST_DELIVERY_WAIT_MILLIS_MAX);
    log.warn("not everything is there yet, trying again", { waitMillis });
    await clock.sleep(waitMillis, signal);
  }
  return undefined;
}

async function refreshUntilEnd(agent: Running, first: SourceResults): Promise<void> {
  const { log, reader, feed, signal } = agent;
  let last = first;
  while (!signal.aborted) {
    feed?.watch(reader.kvPaths);
    await waitForRefresh(agent, last);
    if (signal.aborted) return;
    const round = await deliverOnce(agent);
    if (round === undefined) continue;
    last = round.results;
    const { written, unchanged, problems } = round.report;
    log.info("refreshed", { written: written.length, unchanged, problems: problems.length });
  }
}

/** Until a change is told, or the interval is over, give or take the jitter; but not beyond the end of a lease. */
async function waitForRefresh({ config, clock, feed, signal }: Running, last: SourceResults): Promise<void> {
  const interval = config.refreshIntervalSeconds * 1000;
  const spread = Math.floor((interval * config.jitterPercent) / 100);
  const wait = interval - spread + (spread === 0 ? 0 : randomInt(2 * spread + 1));
  const leaseAt = nextLeaseAt(last);
  const until = leaseAt === undefined ? Number.POSITIVE_INFINITY : Math.max(leaseAt - clock.now(), WAIT_MILLIS_MIN);
  if (feed !== undefined) await feed.wait(Math.max(wait, WAIT_MILLIS_MIN), until);
  else await clock.sleep(Math.max(Math.min(wait, until), WAIT_MILLIS_MIN), signal);
}

function nextLeaseAt(results: SourceResults): Millis | undefined {
  const times = [...results.values()].flatMap((result) =>
    result.kind === "data" && result.readAgainAt !== undefined ? [result.readAgainAt] : [],
  );
  return times.length === 0 ? undefined : Math.min(...times);
}

/** One round of reading and writing; undefined when it was cut short or failed as a whole, which is logged. */
async function deliverOnce(agent: Running): Promise<{ results: SourceResults; report: DeliveryReport } | undefined> {
  try {
    const results = await readWithGoodToken(agent);
    if (results === undefined) return undefined;
    const report = await agent.delivery.deliver(results);
    for (const path of report.written) agent.log.info("wrote", { path });
    for (const { subject, reason, isBlocking } of report.problems) {
      agent.log.warn(isBlocking ? "cannot deliver" : "optional source is absent", { subject, reason });
    }
    for (const wanted of report.signals) await signalOne(agent, wanted);
    return { results, report };
  } catch (error) {
    if (!agent.signal.aborted) agent.log.warn("delivery failed", { reason: messageOf(error) });
    return undefined;
  }
}

async function signalOne({ log }: Running, { signal, process: name }: ChangeSignal): Promise<void> {
  const { signalled, problems } = await signalProcesses(signal, name);
  for (const reason of problems) log.warn("cannot signal", { signal, process: name, reason });
  if (signalled.length > 0) log.info("signalled", { signal, process: name, count: signalled.length });
  else if (problems.length === 0) {
    log.warn("no such process to signal: the pod needs shareProcessNamespace", { signal, process: name });
  }
}

/** Reads; when something was denied and the token turns out to be dead, logs in again and reads once more. */
async function readWithGoodToken(agent: Running): Promise<SourceResults | undefined> {
  const { keeper, reader, signal } = agent;
  const token = await keeper.obtain();
  if (token === undefined) return undefined;
  const results = await reader.read(signal);
  const isDenied = [...results.values()].some((result) => result.kind === "denied");
  if (!isDenied || (await isAlive(agent, token))) return results;
  agent.log.warn("the server does not know the token any more, logging in again");
  keeper.drop(token);
  reader.forgetLeases();
  return (await keeper.obtain()) === undefined ? undefined : reader.read(signal);
}

async function isAlive({ client, signal }: Running, token: string): Promise<boolean> {
  try {
    await client.read("auth/token/lookup-self", { token, signal });
    return true;
  } catch (error) {
    if (signal.aborted) throw error;
    return !hasStatus(error, 403);
  }
}

async function revoke({ client, keeper, clock, log }: Running): Promise<void> {
  const token = keeper.current();
  if (token === undefined) return;
  const end = new AbortController();
  void clock.sleep(REVOKE_MILLIS, end.signal).then(() => end.abort());
  try {
    await client.write("auth/token/revoke-self", {}, { token, retries: 0, signal: end.signal });
    log.info("token revoked");
  } catch (error) {
    log.warn("the token was not revoked and ends with its ttl", { reason: messageOf(error) });
  } finally {
    end.abort();
  }
}
