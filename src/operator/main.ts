// The operator program: `coffer operator`. Builds the parts and runs them: the watches on every replica, the controllers
// on the one that holds the Lease, and the health listener.
import { resolve } from "node:path";
import type { Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { createLog, type Log } from "#common/log.ts";
import { createMetrics, type Metrics } from "#common/metrics.ts";
import type { ProgramIo, ProgramRun } from "#common/program.ts";
import { type Controller, declareControllerMetrics } from "#kube/controller.ts";
import { createEventRecorder } from "#kube/events.ts";
import { startHealthServer } from "#kube/health-server.ts";
import { createKubeClient, type KubeClient } from "#kube/kube-client.ts";
import { endpointSourceOf, type KubeEndpointSource } from "#kube/kube-endpoint.ts";
import { createLeaderElection } from "#kube/leader-election.ts";
import { requestToken, TOKEN_SECONDS_MIN } from "#kube/service-account-tokens.ts";
import { createApplier } from "./controllers/applier.ts";
import type { ControllerParts } from "./controllers/controller-type.ts";
import { controllerTypes } from "./controllers/registry.ts";
import { declareLeadershipMetric, declareQueueMetric } from "./operator-metrics.ts";
import { createServers } from "./servers/servers.ts";
import { type OperatorSettings, readOperatorSettings, USAGE } from "./settings.ts";
import { createWatches, type Watches } from "./watches.ts";

/** The field manager of everything that the operator applies. */
const FIELD_MANAGER = "coffer-operator";
/** A watch is renewed at least once a minute; a silence this long means that the process cannot hear any more. */
const SILENCE_MILLIS_MAX: Millis = 10 * 60_000;

/** Runs the operator until it is asked to end. Exit codes: 0 ended, 1 wrong configuration. */
export const run: ProgramRun = async (argv, io) => {
  if (argv.some((word) => /^--?(h|help)$/.test(word))) {
    io.stdout.write(USAGE);
    return 0;
  }
  try {
    await runFrom(readOperatorSettings(argv, io.env), io);
    return 0;
  } catch (error) {
    if (!(error instanceof CofferError)) throw error;
    io.stderr.write(`coffer operator: ${messageOf(error)}\n`);
    return 1;
  }
};

async function runFrom(settings: OperatorSettings, io: ProgramIo): Promise<void> {
  const { clock } = io;
  const log = createLog({
    level: settings.logLevel,
    format: settings.logFormat,
    write: (line) => io.stderr.write(line),
    now: () => clock.now(),
  });
  using client = await createKubeClient({ source: endpointOf(settings, io), fieldManager: FIELD_MANAGER, clock });
  const watches = createWatches({ client, settings, clock, log });
  const metrics = createMetrics();
  const election = createLeaderElection({
    ...{ client, clock, log },
    namespace: settings.namespace,
    name: settings.leaseName,
    identity: settings.podName,
  });
  declareLeadershipMetric(metrics, () => election.isLeader());
  await using _health = await startHealthServer({
    ...(settings.healthHost === "" ? {} : { host: settings.healthHost }),
    port: settings.healthPort,
    live: { watches: () => watches.silentMillis() < SILENCE_MILLIS_MAX },
    ready: { synced: () => watches.isSynced(), running: () => !io.signal.aborted },
    metrics,
  });
  log.info("the operator runs", { namespace: settings.namespace, clusters: settings.clusterNamespaces.join(",") });
  const lead = leadership({ client, watches, settings, io, log, metrics });
  await Promise.all([watches.run(io.signal), election.run(io.signal, lead)]);
}

function endpointOf(settings: OperatorSettings, io: ProgramIo): KubeEndpointSource {
  if (settings.kubeconfig === undefined) return endpointSourceOf(io.env);
  return { from: "kubeconfig", path: resolve(io.cwd, settings.kubeconfig) };
}

interface LeadershipParts {
  readonly client: KubeClient;
  readonly watches: Watches;
  readonly settings: OperatorSettings;
  readonly io: ProgramIo;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What the leader does: all controllers, made anew each time, so that nothing is remembered of a former term. */
function leadership({ client, watches, settings, io, log, metrics }: LeadershipParts) {
  const { clock } = io;
  const controllerMetrics = declareControllerMetrics(metrics);
  let controllers: readonly Controller[] = [];
  declareQueueMetric(metrics, () => controllers.reduce((sum, controller) => sum + controller.queueSizes().ready, 0));
  return async (signal: AbortSignal): Promise<void> => {
    const events = createEventRecorder({ client, instance: settings.podName, clock, log });
    const account = { namespace: settings.namespace, name: settings.serviceAccount };
    const token = async (audience: string, aborted: AbortSignal) => {
      const options = { audiences: [audience], expirationSeconds: TOKEN_SECONDS_MIN, signal: aborted };
      return (await requestToken(client, account, options)).token;
    };
    const servers = createServers({ client, watches, token, clock });
    const applier = createApplier({ client, watches, events, clock });
    const parts: ControllerParts = {
      ...{ client, watches, servers, applier, events, settings, clock, log },
      metrics: controllerMetrics,
    };
    controllers = controllerTypes.map((type) => type.create(parts));
    await Promise.all(controllers.map((controller) => controller.run(signal)));
    controllers = [];
    await events.flush();
    servers.close();
  };
}
