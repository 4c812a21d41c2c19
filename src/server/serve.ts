// A server in this process: opens what the configuration names, joins the parts, listens, comes up by itself where it
// can, and takes everything down in order when the process is asked to end.
import { readFile, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { createMetrics } from "#common/metrics.ts";
import type { ProgramIo } from "#common/program.ts";
import { VERSION, VERSION_DATE } from "#common/version.ts";
import { type AssembledServer, assemble, type ServerParts } from "./assemble.ts";
import { enableAuditDevices } from "./audit/audit-config.ts";
import { parseServerConfig, type ServerConfig } from "./config/server-config.ts";
import { readConfigFiles } from "./config-files.ts";
import { runBootstrap } from "./core/bootstrap.ts";
import { type MetricsRequest, metricsAnswer } from "./core/metrics-answer.ts";
import type { Request } from "./core/request.ts";
import { bringUp } from "./core/unseal-loop.ts";
import { type Development, developmentBanner } from "./development.ts";
import { type ServerFlags, shownCommandLine } from "./flags.ts";
import { HeavyWork } from "./framework/heavy-work.ts";
import { type Listener, listen } from "./http/listener.ts";
import { writePidFile } from "./pid-file.ts";
import { runRecovery } from "./recovery/run-recovery.ts";
import { declareMachineryMetrics } from "./seal/machinery-metrics.ts";
import { findSealType } from "./seal/registry.ts";
import type { Seal } from "./seal/seal.ts";
import type { SealBackground } from "./seal/seal-types.ts";
import { SealReload } from "./seal-reload.ts";
import { declareSealWrapMetrics } from "./seal-wrap/seal-wrap-metrics.ts";
import { registerServerMetrics } from "./server-metrics.ts";
import { assertWhole, readMigration } from "./storage/migration-record.ts";
import { requireStorageKind, type StorageContext, type StorageKind } from "./storage/registry.ts";
import type { Storage } from "./storage/storage.ts";
import { registerStorageMetrics } from "./storage/storage-metrics.ts";
import type { Link } from "./workers/link.ts";

/** How the process was started. */
export interface Start {
  /** Of a development server. */
  readonly development: Development | undefined;
  readonly flags: ServerFlags;
  readonly io: ProgramIo;
  readonly log: Log;
  /** To the other workers of the server, when this process is one of several. */
  readonly link?: Link | undefined;
  /** Parts in place of those that the configuration names, for tests. */
  readonly parts?: Partial<ServerParts>;
}

/** Serves until the process is asked to end; gives the exit code. */
export async function serve(config: ServerConfig, start: Start): Promise<number> {
  const { development, flags, io, log, link } = start;
  const parts = { ...(await openParts(config, io, log)), ...start.parts, siblings: link };
  const late: { reload?: SealReload } = {};
  const reloadSeals = async () => late.reload?.run();
  const server = assemble({ ...parts, ...(!development && { reloadSeals }), commandLine: shownCommandLine(flags) });
  late.reload = sealReload(config, server, start, parts.sealBackground);
  const stop = new AbortController();
  io.signal.addEventListener("abort", () => stop.abort(), { once: true });
  if (io.signal.aborted) stop.abort();
  const { requests } = registerServerMetrics(parts.metrics, server.services, server.sealWatch);
  declareSealWrapMetrics(parts.metrics, server.sealWrap);
  server.snapshots.scheduler?.countBy(parts.metrics);
  registerStorageMetrics(parts.metrics, parts.storage);
  // Before it listens: a worker that is started again is unsealed when it gets its first request.
  const sealHealth = () => server.sealWatch.ownHealth;
  await link?.attach({
    node: server.services.node,
    inFlight: server.inFlight,
    log,
    metrics: parts.metrics,
    sealHealth,
  });
  const worker = String(link?.place.number ?? 1);
  const counted = (request: Request) => {
    requests.add({ worker });
    return server.serve(request);
  };
  const listeners = await openListeners(config, { ...server, serve: counted }, parts);
  if (!link) await writePidFile(config.pidFile);
  if (!development) rereadOnHangup(io, log, listeners, reloadSeals);
  link?.ready();
  const comingUp = bringUpServer(config, server, start, stop.signal);
  if (development) {
    await comingUp;
    io.stdout.write(developmentBanner(listeners[0]?.address ?? "", development.rootToken, flags.devStorage));
  }
  await stopped(stop.signal);
  log.info("stopping");
  await Promise.all(listeners.map((listener) => listener.close()));
  server.snapshots[Symbol.dispose]();
  await server.snapshots.scheduler?.stopped();
  await server.background.stopped();
  await server.sealWatch.stopped();
  await comingUp;
  await server.services.audit.close();
  server.services.node.stop();
  await Promise.all(server.seals.all.map(async (seal) => (seal.kind === "auto" ? seal.close() : undefined)));
  await parts.storage.close();
  if (!link && config.pidFile !== undefined) await rm(config.pidFile, { force: true });
  return 0;
}

/** The same in recovery mode, in one process whatever the configuration says of workers. */
export async function serveRecovery(config: ServerConfig, { io, log }: Pick<Start, "io" | "log">): Promise<number> {
  return runRecovery(await openParts(config, io, log), config, io);
}

function rereadOnHangup(
  { onHangup }: ProgramIo,
  log: Log,
  listeners: readonly Listener[],
  reloadSeals: () => Promise<void>,
): void {
  onHangup?.(() => {
    log.info("reading certificates and seals again");
    for (const listener of listeners) listener.reload();
    reloadSeals().catch((error: unknown) => log.error("the seals stay as they are", { error: messageOf(error) }));
  });
}

function sealReload(
  config: ServerConfig,
  server: AssembledServer,
  { flags, io, log }: Start,
  background: SealBackground,
): SealReload {
  const { seals, copies, sealWatch, sealWrap, services } = server;
  return new SealReload({
    ...{ seals, copies, node: services.node, log, follower: sealWrap, stanzas: config.seals },
    read: async () => parseServerConfig(await readConfigFiles(flags, io)).seals,
    open: (stanza) => openSeal(stanza, config, io, background),
    changed: () => sealWatch.wake(),
  });
}

async function openParts(
  config: ServerConfig,
  io: ProgramIo,
  log: Log,
): Promise<ServerParts & { readonly sealBackground: SealBackground }> {
  const { clock } = io;
  const metrics = createMetrics();
  const sealBackground = { log, noteMachinery: declareMachineryMetrics(metrics) };
  const open = (disabled: boolean) =>
    Promise.all(
      config.seals
        .filter((seal) => seal.disabled === disabled)
        .map((stanza) => openSeal(stanza, config, io, sealBackground)),
    );
  const [seals, retiredSeals] = [await open(false), await open(true)];
  const kind = requireStorageKind(config.storage.type);
  const storage = await openWhole(kind, config, { log, clock, environment: io.env });
  return {
    storage,
    storageType: kind.type,
    seals,
    retiredSeals,
    host: { clock, log, readFile: (path) => readFile(path, "utf8"), environment: io.env, heavy: new HeavyWork() },
    clock,
    log,
    metrics,
    sealBackground,
    ttl: { defaultLeaseTtlSeconds: config.defaultLeaseTtlSeconds, maxLeaseTtlSeconds: config.maxLeaseTtlSeconds },
    clusterName: config.clusterName,
    version: VERSION,
    buildDate: VERSION_DATE,
    sanitizedConfig: sanitized(config),
    userLockouts: config.userLockouts,
    snapshots: config.snapshots,
    rawStorage: config.rawStorage,
    introspection: config.introspection,
  };
}

/** Refuses the destination of a migration that is not finished, before anything listens. */
async function openWhole(kind: StorageKind, config: ServerConfig, context: StorageContext): Promise<Storage> {
  const storage = await kind.open(config.storage.config, context);
  try {
    assertWhole(await readMigration(storage));
    return storage;
  } catch (error) {
    await storage.close();
    throw error;
  }
}

/** All seals of the configuration, also those that only open what they wrapped. The caller closes them. */
export function openSeals(config: ServerConfig, io: ProgramIo): Promise<readonly Seal[]> {
  return Promise.all(config.seals.map((stanza) => openSeal(stanza, config, io)));
}

/** One seal of the configuration; it contacts nothing yet. The caller closes it. Throws `invalid_request`. */
export function openSeal(
  stanza: ServerConfig["seals"][number],
  config: ServerConfig,
  io: ProgramIo,
  background?: SealBackground,
): Promise<Seal> {
  return findSealType(stanza.type).parse(stanza.config, {
    clusterName: config.clusterName,
    clock: io.clock,
    readFile: (path) => readFile(resolve(io.cwd, path)),
    environment: (name) => io.env[name],
    background,
  });
}

/** What an administrator may see of the configuration: kinds and addresses, no member that could be a secret. */
function sanitized(config: ServerConfig) {
  return {
    storage: { type: config.storage.type },
    seals: config.seals.map((seal) => ({
      type: seal.type,
      name: seal.name,
      priority: seal.priority,
      disabled: seal.disabled,
    })),
    listeners: config.listeners.map((listener) => ({
      type: "tcp",
      config: { address: `${listener.host}:${listener.port}`, tls_disable: !listener.tls },
    })),
    api_addr: config.apiAddress ?? null,
    default_lease_ttl: config.defaultLeaseTtlSeconds,
    max_lease_ttl: config.maxLeaseTtlSeconds,
    log_level: config.logLevel,
  };
}

async function openListeners(
  config: ServerConfig,
  {
    serve,
    pages,
    crossOrigin,
    whole,
    takesStream,
  }: Pick<AssembledServer, "serve" | "pages" | "crossOrigin" | "whole" | "takesStream">,
  { log, clock }: ServerParts,
): Promise<readonly Listener[]> {
  const showMetrics = (asked: MetricsRequest) => metricsAnswer(whole, asked, clock.now());
  const services = { serve, pages, crossOrigin, takesStream, log, clock, metrics: showMetrics };
  const open = config.listeners.map((listener) => ({
    ...listener,
    unauthenticatedMetrics: listener.unauthenticatedMetrics || config.unauthenticatedMetrics,
  }));
  const listeners: Listener[] = [];
  // One after the other: workers must come in the same order to what is any port (port 0).
  for (const listener of open) listeners.push(await listen(listener, services));
  return listeners;
}

async function bringUpServer(
  config: ServerConfig,
  server: AssembledServer,
  { development, io, log, link }: Start,
  signal: AbortSignal,
): Promise<void> {
  const { node } = server.services;
  node.onUnsealed(() => server.background.start(signal));
  server.sealWatch.start(signal);
  node.onUnsealed(() => server.sealWatch.wake());
  server.snapshots.scheduler?.start(signal);
  server.snapshots.watch.start(async () => {
    if (node.mayOpenByItself) await bringUp({ node, clock: io.clock, log, initialize: undefined }, signal);
  });
  if (!node.mayOpenByItself) {
    await node.refresh();
    return;
  }
  // One worker asks the seals for all.
  if (link) await stopped(AbortSignal.any([link.leading, signal]));
  if (signal.aborted) return;
  const initialize = config.bootstrap.length === 0 ? undefined : () => selfInitialize(config, development, server);
  await bringUp({ node, clock: io.clock, log, initialize }, signal);
  if (development && !signal.aborted) await ensureRootToken(development, server);
}

async function selfInitialize(
  config: ServerConfig,
  development: Development | undefined,
  server: AssembledServer,
): Promise<void> {
  await server.services.node.initialize({
    shares: 1,
    threshold: 1,
    recoveryShares: 0,
    recoveryThreshold: 0,
    fill: async (tx) => {
      await server.initial.write(tx);
      await enableAuditDevices(tx, config.audits, server.services.audit);
      await runBootstrap(tx, config.bootstrap, server.services);
      if (development) await server.initial.writeRootToken(tx, development.rootToken);
    },
  });
}

/** A development server that finds older data makes sure that the token it prints is one. */
async function ensureRootToken(development: Development, { services, initial }: AssembledServer): Promise<void> {
  const tx = services.barrier.begin();
  if (await services.tokens.find(tx, development.rootToken)) return;
  await initial.writeRootToken(tx, development.rootToken);
  await tx.commit();
}

function stopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolvePromise) => {
    if (signal.aborted) resolvePromise();
    else signal.addEventListener("abort", () => resolvePromise(), { once: true });
  });
}
