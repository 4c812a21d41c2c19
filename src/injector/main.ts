// The injector program: `coffer injector`, the admission webhook behind the chart's MutatingWebhookConfiguration. Builds
// the parts and runs them: two reflectors into the catalog, the serving certificate, the webhook, the health listener.
import { createServer, type Server } from "node:https";
import type { Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { createLog, type Log } from "#common/log.ts";
import { createMetrics, type Metrics } from "#common/metrics.ts";
import type { ProgramIo, ProgramRun } from "#common/program.ts";
import { list, object, string, withDefault } from "#common/schema.ts";
import { createEventRecorder } from "#kube/events.ts";
import { startHealthServer } from "#kube/health-server.ts";
import { createKubeClient, type KubeClient } from "#kube/kube-client.ts";
import { endpointSourceOf } from "#kube/kube-endpoint.ts";
import { createLeaderElection } from "#kube/leader-election.ts";
import { createReflector } from "#kube/reflector.ts";
import { createServingCertificate, type ServingCertificate } from "#kube/serving-certificate.ts";
import { resourceKind } from "#operator/api/resource.ts";
import { secretBinding } from "#operator/api/secret-binding.ts";
import { vaultCluster } from "#operator/api/vault-cluster.ts";
import { type Catalog, createCatalog } from "./catalog.ts";
import { hasFileKeyRef, type InjectorConfig, readInjectorConfig, readsPlainVariables } from "./config.ts";
import { createWebhook } from "./http.ts";
import { declareInjectorMetrics, declareMissedMetrics } from "./injector-metrics.ts";
import { Evictions } from "./missed/evictions.ts";
import { MissedPods } from "./missed/missed-pods.ts";
import type { InjectorSettings } from "./settings.ts";

/** Objects are looked at again from time to time by nobody: the catalog only follows. A silence this long is a fault. */
const SILENCE_MILLIS_MAX: Millis = 10 * 60_000;
/** After SIGTERM the API servers still call until they have learnt that this replica is gone. */
const DRAIN_MILLIS: Millis = 5000;
/** API servers keep few connections; this many come only from somebody else. */
const CONNECTIONS_MAX = 512;

/** Runs the injector until it is asked to end. Exit codes: 0 ended, 1 wrong configuration. */
export const run: ProgramRun = async (argv, io) => {
  if (argv.length > 0) {
    io.stderr.write("coffer injector: takes no arguments; its configuration comes from the chart\n");
    return 1;
  }
  try {
    await runFrom(readInjectorConfig(io.env), io);
    return 0;
  } catch (error) {
    io.stderr.write(`coffer injector: ${messageOf(error)}\n`);
    return 1;
  }
};

async function runFrom(config: InjectorConfig, io: ProgramIo): Promise<void> {
  const log = createLog({
    level: config.logLevel,
    format: io.env["COFFER_LOG_FORMAT"] === "text" ? "text" : "json",
    write: (line) => io.stderr.write(line),
    now: () => io.clock.now(),
  });
  using client = await createKubeClient({
    source: endpointSourceOf(io.env),
    fieldManager: "coffer-injector",
    clock: io.clock,
  });
  const kubernetes = await askVersion(client);
  const fileKeyRef = config.fileKeyRef === "auto" ? hasFileKeyRef(kubernetes) : config.fileKeyRef;
  const settings = {
    ...{ image: config.image, imagePullPolicy: config.imagePullPolicy, fileKeyRef },
    plainVariables: readsPlainVariables(kubernetes),
    assignsUsers: await hasSecurityContextConstraints(client),
  };
  // The parts outlive the request to end by the drain.
  const parts = new AbortController();
  const bindings = createReflector({ client, kind: resourceKind(secretBinding), clock: io.clock, log });
  const clusters = createReflector({ client, kind: resourceKind(vaultCluster), clock: io.clock, log });
  using catalog = createCatalog({ bindings, clusters, log });
  const certificate = servingCertificate(client, config, io, log);
  const metrics = createMetrics();
  const looking = missedPods({ client, config, settings, catalog, certificate, metrics, io, log });
  const webhook = await startWebhook(config, settings, catalog, certificate, metrics, log);
  const isHeard = () => [bindings, clusters].every((r) => (r.silentMillis() ?? 0) < SILENCE_MILLIS_MAX);
  await using _health = await startHealthServer({
    ...(config.health.host === "" ? {} : { host: config.health.host }),
    port: config.health.port,
    live: { watches: isHeard },
    ready: {
      bindings: () => catalog.isSynced(),
      certificate: () => certificate.isReady(),
      running: () => !io.signal.aborted,
    },
    metrics,
  });
  log.info("the injector runs", { port: webhook.port, fileKeyRef, assignsUsers: settings.assignsUsers });
  const running = [bindings, clusters, certificate].map((part) => part.run(parts.signal));
  // Ends at once, so that the next replica looks.
  running.push(looking(io.signal));
  await ended(io.signal);
  await io.clock.sleep(DRAIN_MILLIS);
  parts.abort();
  await Promise.all([...running, webhook.close()]);
}

interface MissedParts {
  readonly client: KubeClient;
  readonly config: InjectorConfig;
  readonly settings: InjectorSettings;
  readonly catalog: Catalog;
  readonly certificate: ServingCertificate;
  readonly metrics: Metrics;
  readonly io: ProgramIo;
  readonly log: Log;
}

/** Looks for pods without injection for as long as this replica is the one that does. */
function missedPods({ client, config, settings, catalog, certificate, metrics, io, log }: MissedParts) {
  let missed: MissedPods | undefined;
  const onEvicted = declareMissedMetrics(metrics, () => missed?.count ?? 0);
  const { clock } = io;
  const rules = {
    vaultAnnotations: config.vaultAnnotations,
    excludedNamespaces: new Set([config.namespace, "kube-system", ...config.excludedNamespaces]),
  };
  const election = createLeaderElection({
    ...{ client, clock, log, namespace: config.namespace, name: config.leaseName, identity: config.podName },
  });
  return async (signal: AbortSignal): Promise<void> => {
    if (config.missed === "none") return;
    await election.run(signal, async (leading) => {
      const events = createEventRecorder({ client, instance: config.podName, clock, log });
      const evictions =
        config.missed === "evict" ? new Evictions({ client, catalog, settings, log, onEvicted }) : undefined;
      const isReady = () => catalog.isSynced() && certificate.isReady();
      missed = new MissedPods({ client, rules, events, clock, log, evictions, isReady });
      await missed.run(leading);
      missed = undefined;
    });
  };
}

async function askVersion(client: KubeClient): Promise<{ readonly major: string; readonly minor: string }> {
  const version = object({ major: string, minor: string });
  return version.parse(await client.request("GET", "/version"), "/version");
}

/** OpenShift gives each namespace a range of users, and refuses pods that name another one. */
async function hasSecurityContextConstraints(client: KubeClient): Promise<boolean> {
  const groups = object({ groups: withDefault(list(object({ name: string })), []) });
  const { groups: found } = groups.parse(await client.request("GET", "/apis"), "/apis");
  return found.some(({ name }) => name === "security.openshift.io");
}

function servingCertificate(client: KubeClient, config: InjectorConfig, io: ProgramIo, log: Log): ServingCertificate {
  const name = `${config.webhookService}.${config.namespace}.svc`;
  return createServingCertificate({
    client,
    secret: { namespace: config.namespace, name: config.caSecret },
    dnsNames: [name, `${name}.cluster.local`],
    webhooks: [{ kind: "Mutating", name: config.webhookName }],
    clock: io.clock,
    log,
  });
}

async function startWebhook(
  config: InjectorConfig,
  settings: InjectorSettings,
  catalog: Catalog,
  certificate: ServingCertificate,
  metrics: Metrics,
  log: Log,
): Promise<{ port: number; close(): Promise<void> }> {
  const onOutcome = declareInjectorMetrics(metrics, () => certificate.notAfter());
  const server = createServer({ minVersion: "TLSv1.2" }, createWebhook({ catalog, settings, log, onOutcome }));
  server.maxConnections = CONNECTIONS_MAX;
  const rotation = certificate.onRotate((identity) => server.setSecureContext({ minVersion: "TLSv1.2", ...identity }));
  const port = await listen(server, config);
  return {
    port,
    async close() {
      rotation[Symbol.dispose]();
      server.closeIdleConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function listen(server: Server, { listen: { host, port } }: InjectorConfig): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(new CofferError("unavailable", `cannot listen on port ${port}: ${messageOf(error)}`, { cause: error })),
    );
    server.listen(port, host === "" ? "::" : host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
