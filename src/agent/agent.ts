// The agent's life: log in, deliver until everything is there, say so (ready file), then refresh until told to end.
//
//   login --> first delivery --all there--> ready --Init--> end
//               ^   `-- something blocks: wait, try again     `--Sidecar--> refresh each interval --SIGTERM--> revoke, end
//
// It never gives up: a pod that waits says in its log what for; one that crash-loops only makes noise.
import { randomInt } from "node:crypto";
import { rm } from "node:fs/promises";
import type { ApiClient } from "#client/api-client.ts";
import { hasStatus } from "#client/api-error.ts";
import type { Auth } from "#client/envelope.ts";
import { loginWithKubernetes } from "#client/kubernetes-login.ts";
import { createTokenKeeper, type TokenKeeper } from "#client/renewal.ts";
import { backoffMillis } from "#client/retry.ts";
import type { TlsOptions } from "#client/transport.ts";
import type { AgentConfig } from "#common/agent-config.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { AgentMemory } from "./agent-memory.ts";
import { createDelivery, type Delivery, type DeliveryReport, type FileWriter } from "./delivery.ts";
import { ChangeFeed } from "./events/change-feed.ts";
import { ChangeHooks } from "./hooks/change-hooks.ts";
import type { LeaseBook } from "./lease-book.ts";
import type { RunningProxy } from "./proxy/start-proxy.ts";
import { createSourceReader, type SourceReader, type SourceResults } from "./sources.ts";
import type { AgentState } from "./state/agent-state.ts";
import type { TemplateSet } from "./template/template-set.ts";
import { writeFileAtomically } from "./write-file.ts";

/** Longest wait between attempts of the first delivery: someone may be writing the secret just now. */
const FIRST_DELIVERY_WAIT_MILLIS_MAX = 15_000;
/** A pod's end must not wait for a server that is away. */
const REVOKE_MILLIS = 2_000;
/** Leased credentials of a few seconds must not make a busy loop. */
const WAIT_MILLIS_MIN = 1_000;
/** Of a token's last third. */
const RENEWAL_JITTER = 0.1;
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
  /** How it logs in; by the ServiceAccount of the configuration without. */
  readonly login?: ((signal: AbortSignal) => Promise<Auth>) | undefined;
  /** The wait after a login that failed; `attempt` counts from 0. */
  readonly loginWait?: ((attempt: number) => Millis) | undefined;
  /** What lasts longer than this run. */
  readonly state?: AgentState | undefined;
  /** Where files go; to the disk without. */
  readonly write?: FileWriter | undefined;
  /** Told each new token. */
  readonly onToken?: ((token: string) => Promise<void>) | undefined;
  /** Told after each round in which everything that must be there was. */
  readonly onDelivered?: ((report: DeliveryReport) => void) | undefined;
  /** The first delivery fails for good after so many attempts; never without. */
  readonly attemptsMax?: number | undefined;
  /** At the end leased credentials are revoked one by one: for a token that is not the agent's to revoke. */
  readonly revokesLeases?: boolean | undefined;
  /** Of the programs that hooks run. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

/** The reason of an end after which another run follows with the same state: nothing is revoked. */
export const RELOAD = "reload";

interface Running extends AgentParts {
  readonly keeper: TokenKeeper;
  readonly reader: SourceReader;
  readonly delivery: Delivery;
  /** Tells changes; undefined where nobody asked to hear of them. */
  readonly feed: ChangeFeed | undefined;
  readonly hooks: ChangeHooks;
  readonly memory: AgentMemory;
  /** Aborted when the next round must not wait. */
  wake: AbortController;
}

/**
 * Runs to the end: of the first delivery ("Init") or of the pod ("Sidecar"). Never rejects for the server's sake, unless
 * `attemptsMax` says so.
 */
export async function runAgent(given: AgentParts): Promise<void> {
  const ending = new AbortController();
  const parts = { ...given, signal: AbortSignal.any([given.signal, ending.signal]) };
  const { config, log } = parts;
  const agent = await assemble(parts);
  const { keeper } = agent;
  log.info("logging in", { address: config.address, mount: config.auth.mount, role: config.auth.role });
  await keeper.obtain();
  await agent.memory.settled();
  const proxy = await openProxy(parts, keeper, () => ending.abort("quit"));
  const renewing = config.mode === "Sidecar" ? keeper.run() : Promise.resolve();
  const { last, failure } = await live(agent);
  // Whatever ended it must not leave anything behind that still works.
  if (config.mode === "Sidecar") ending.abort("ended");
  await renewing;
  proxy?.close();
  await agent.hooks.settled();
  await agent.memory.settled();
  if (given.signal.reason !== RELOAD) await clearAway(agent, last);
  if (failure !== undefined) throw failure;
}

/** To the end of what is to be delivered; with what it failed, if it did. */
async function live(agent: Running): Promise<{ last?: SourceResults | undefined; failure?: Error }> {
  const { config, feed } = agent;
  try {
    const last = await deliverUntilReady(agent);
    if (last !== undefined && config.mode === "Sidecar") await Promise.all([refreshUntilEnd(agent, last), feed?.run()]);
    return { last };
  } catch (error) {
    return { failure: error instanceof Error ? error : new Error(String(error)) };
  }
}

async function clearAway(agent: Running, last: SourceResults | undefined): Promise<void> {
  const { config, signal, reader } = agent;
  if (agent.revokesLeases === true) await revokeLeases(agent, reader.leases);
  if (config.revokeOnExit === false) return;
  // An "Init" agent leaves leased credentials to the pod, and they would end with its token.
  if (signal.aborted || last === undefined || nextLeaseAt(last) === undefined) await revoke(agent);
}

async function assemble(parts: AgentParts): Promise<Running> {
  const { config, client, clock, log, signal } = parts;
  const memory = new AgentMemory({ state: parts.state, clock, log, onToken: parts.onToken });
  const saved = await memory.load();
  const templates = await loadTemplates(parts, memory.nameKey);
  const { login = (abort: AbortSignal) => loginWithKubernetes(client, config.auth, abort) } = parts;
  const keeper = createTokenKeeper({
    ...{ client, login, clock, signal, log: log.with({ role: config.auth.role }) },
    ...{ initial: saved?.token, waitAfter: parts.loginWait, jitter: RENEWAL_JITTER },
    changed: (held) => memory.tokenChanged(held),
  });
  const authorized = client.with({ token: () => keeper.current(), namespace: client.namespace });
  const reader = createSourceReader({
    ...{ client: authorized, clock, templates, savedLeases: saved?.leases },
    sources: config.sources,
    replaceLeaseAt: config.replaceLeaseAt,
  });
  const hears = config.mode === "Sidecar" && config.events !== false;
  const feed = hears ? new ChangeFeed({ client: authorized, clock, log, signal }) : undefined;
  const hooks = new ChangeHooks({ clock, log, signal, env: parts.env ?? {} });
  const delivery = createDelivery(config, { templates, clock, write: parts.write });
  const agent: Running = { ...parts, keeper, reader, feed, hooks, memory, delivery, wake: new AbortController() };
  memory.watch(reader.leases, () => {
    feed?.wake();
    agent.wake.abort("token");
  });
  return agent;
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
async function loadTemplates(
  { config, variables, clock }: AgentParts,
  nameKey: Buffer,
): Promise<TemplateSet | undefined> {
  if (!config.files.some((file) => file.format === "Template")) return undefined;
  const { createTemplateSet } = await import("./template/template-set.ts");
  return createTemplateSet(config, variables, clock, nameKey);
}

async function deliverUntilReady(agent: Running): Promise<SourceResults | undefined> {
  const { clock, log, signal } = agent;
  for (let attempt = 0; !signal.aborted; attempt++) {
    const round = await deliverOnce(agent);
    if (round !== undefined && isComplete(round.report)) {
      await markReady(agent, true);
      agent.onDelivered?.(round.report);
      log.info("ready", { files: round.report.written.length + round.report.unchanged });
      return round.results;
    }
    if (signal.aborted) return undefined;
    if (attempt + 1 >= (agent.attemptsMax ?? Number.POSITIVE_INFINITY)) {
      const why = round?.report.problems.filter(({ isBlocking }) => isBlocking).map(({ reason }) => reason) ?? [];
      const reasons = why.length === 0 ? "the server could not be asked" : why.join("; ");
      throw new CofferError("unavailable", `not everything is there after ${attempt + 1} attempts: ${reasons}`);
    }
    const waitMillis = backoffMillis(attempt, FIRST_DELIVERY_WAIT_MILLIS_MAX);
    log.warn("not everything is there yet, trying again", { waitMillis });
    await clock.sleep(waitMillis, signal);
  }
  return undefined;
}

function isComplete({ problems }: DeliveryReport): boolean {
  return !problems.some((problem) => problem.isBlocking);
}

async function markReady({ config }: Running, isReady: boolean): Promise<void> {
  if (config.readyFile === "") return;
  if (isReady) await writeFileAtomically(config.readyFile, "ready\n", READY_FILE_MODE);
  else await rm(config.readyFile, { force: true });
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
    const { written, unchanged, problems, removed } = round.report;
    if (removed.length > 0) await markReady(agent, false);
    else if (isComplete(round.report)) {
      await markReady(agent, true);
      agent.onDelivered?.(round.report);
    }
    log.info("refreshed", { written: written.length, unchanged, problems: problems.length });
  }
}

/** Until a change is told, or the interval is over, give or take the jitter; but not beyond the end of a lease. */
async function waitForRefresh(agent: Running, last: SourceResults): Promise<void> {
  const { config, clock, feed, signal } = agent;
  const interval = config.refreshIntervalSeconds * 1000;
  const spread = Math.floor((interval * config.jitterPercent) / 100);
  const wait = interval - spread + (spread === 0 ? 0 : randomInt(2 * spread + 1));
  const leaseAt = nextLeaseAt(last);
  const until = leaseAt === undefined ? Number.POSITIVE_INFINITY : Math.max(leaseAt - clock.now(), WAIT_MILLIS_MIN);
  if (feed !== undefined) await feed.wait(Math.max(wait, WAIT_MILLIS_MIN), until);
  else
    await clock.sleep(Math.max(Math.min(wait, until), WAIT_MILLIS_MIN), AbortSignal.any([signal, agent.wake.signal]));
  agent.wake = new AbortController();
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
    agent.hooks.run(report.hooks);
    await agent.memory.save();
    return { results, report };
  } catch (error) {
    if (!agent.signal.aborted) agent.log.warn("delivery failed", { reason: messageOf(error) });
    return undefined;
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
  reader.leases.forget();
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

/** Where the token is somebody else's, what was made with it goes alone. */
async function revokeLeases(agent: Running, leases: LeaseBook): Promise<void> {
  const { client, keeper, clock, log } = agent;
  const token = keeper.current();
  const ids = leases.saved().flatMap(({ id }) => (id === "" ? [] : [id]));
  if (token === undefined || ids.length === 0) return;
  const end = new AbortController();
  void clock.sleep(REVOKE_MILLIS, end.signal).then(() => end.abort());
  try {
    for (const lease_id of ids) {
      await client.write("sys/leases/revoke", { lease_id }, { token, retries: 0, signal: end.signal });
    }
    log.info("leases revoked", { count: ids.length });
  } catch (error) {
    log.warn("not every lease was revoked; they end with their ttl", { reason: messageOf(error) });
  } finally {
    end.abort();
  }
}

async function revoke({ client, keeper, memory, clock, log }: Running): Promise<void> {
  const token = keeper.current();
  if (token === undefined) return;
  const end = new AbortController();
  void clock.sleep(REVOKE_MILLIS, end.signal).then(() => end.abort());
  try {
    await client.write("auth/token/revoke-self", {}, { token, retries: 0, signal: end.signal });
    log.info("token revoked");
    await memory.clear();
  } catch (error) {
    log.warn("the token was not revoked and ends with its ttl", { reason: messageOf(error) });
  } finally {
    end.abort();
  }
}
