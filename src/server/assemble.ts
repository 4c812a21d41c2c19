// The composition root of the server: makes the parts and joins them, top down. Knows every service, does none of
// their work.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import type { Metrics } from "#common/metrics.ts";
import { AuditService } from "./audit/audit-service.ts";
import { auditRegistry } from "./audit/registry.ts";
import { authRegistry } from "./auth/registry.ts";
import { tokenBackend } from "./auth/token/backend.ts";
import { Barrier } from "./barrier/barrier.ts";
import type { Transaction } from "./barrier/transaction.ts";
import { createCeremonies } from "./ceremony/ceremonies.ts";
import type { SnapshotsStanza, UserLockoutStanza } from "./config/server-config.ts";
import { Background } from "./core/background.ts";
import { type CrossOriginRules, readCrossOrigin } from "./core/cross-origin.ts";
import { HeldRequests } from "./core/held.ts";
import { InFlight } from "./core/in-flight.ts";
import { InitialRecords } from "./core/initial-records.ts";
import { Node } from "./core/node.ts";
import { readPageHeaders } from "./core/page-headers.ts";
import { serve } from "./core/pipeline.ts";
import type { Answer, Request } from "./core/request.ts";
import type { CoreServices } from "./core/request-state.ts";
import { SealCopies } from "./core/seal-copies.ts";
import { SealSet } from "./core/seal-set.ts";
import { SealWatch } from "./core/seal-watch.ts";
import { aloneServer, type Siblings, type WholeServer } from "./core/siblings.ts";
import { SweepCounts } from "./core/sweep-counts.ts";
import { Turns } from "./core/turns.ts";
import { noteVersion } from "./core/version-history.ts";
import { engineRegistry } from "./engines/registry.ts";
import { EventFeed } from "./events/event-feed.ts";
import { Events } from "./events/events.ts";
import type { BackendHost, BackendType } from "./framework/backend.ts";
import { createPages } from "./http/pages.ts";
import { identityBackend } from "./identity/backend.ts";
import { IdentityStore } from "./identity/identity-store.ts";
import { LoginMfa } from "./identity/mfa/login-mfa.ts";
import { apiAddressOf } from "./identity/oidc/oidc-services.ts";
import { Journal } from "./journal/journal.ts";
import { CONFIRM_SECONDS, Undoing } from "./journal/undoing.ts";
import { CLAIM_SECONDS } from "./leases/claim.ts";
import { Expiration } from "./leases/expiration.ts";
import { Lockout } from "./lockout/lockout.ts";
import { Backends } from "./mounts/backends.ts";
import type { TtlDefaults } from "./mounts/mount-info.ts";
import { DecisionIds } from "./policy/decision-id.ts";
import { PolicyStore } from "./policy/policy-store.ts";
import { Quotas } from "./quotas/quotas.ts";
import type { Seal } from "./seal/seal.ts";
import { SealWrap } from "./seal-wrap/seal-wrap.ts";
import { Snapshots } from "./snapshot/snapshot-service.ts";
import type { Storage } from "./storage/storage.ts";
import { sysBackend } from "./sys/backend.ts";
import { TokenService } from "./tokens/token-service.ts";

export interface ServerParts {
  readonly storage: Storage;
  readonly storageType: string;
  readonly seals: readonly Seal[];
  readonly retiredSeals: readonly Seal[];
  readonly host: BackendHost;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly ttl: TtlDefaults;
  readonly clusterName: string;
  readonly version: string;
  readonly buildDate: string;
  readonly sanitizedConfig: JsonObject;
  readonly userLockouts: readonly UserLockoutStanza[];
  /** Undefined: no snapshots are scheduled. */
  readonly snapshots?: SnapshotsStanza | undefined;
  /** sys/raw is there. */
  readonly rawStorage?: boolean;
  /** sys/internal/inspect is there. */
  readonly introspection?: boolean;
  /** For sys/pprof/cmdline. */
  readonly commandLine?: readonly string[];
  /** Reads the seals of the configuration again. Throws `invalid_request`. */
  readonly reloadSeals?: () => Promise<void>;
  /** The other worker processes of this server; none by default. */
  readonly siblings?: Siblings | undefined;
  /** How long one attempt at ending something outside may take, before another node may begin one. */
  readonly claimSeconds?: number;
  /** How long after an effect was undone without a word from its maker it is undone again: ten minutes but in tests. */
  readonly confirmSeconds?: number;
  /** Engines besides the registry's, for tests. */
  readonly engines?: readonly BackendType[];
}

export interface AssembledServer {
  readonly services: CoreServices;
  readonly initial: InitialRecords;
  readonly background: Background;
  readonly eventFeed: EventFeed;
  readonly inFlight: InFlight;
  /** The server as a whole, with its other worker processes. */
  readonly whole: WholeServer;
  readonly snapshots: Snapshots;
  readonly seals: SealSet;
  readonly copies: SealCopies;
  readonly sealWatch: SealWatch;
  readonly sealWrap: SealWrap;
  /** Paths whose bodies are handed on as they come. */
  readonly takesStream: (path: string) => boolean;
  readonly serve: (request: Request) => Promise<Answer>;
  readonly pages: (request: IncomingMessage, response: ServerResponse) => void;
  readonly crossOrigin: () => Promise<CrossOriginRules | undefined>;
}

/** What the configuration says and sys needs. */
function settingsOf({ rawStorage = false, introspection = false, commandLine = [], ...parts }: ServerParts) {
  const { storageType, version, buildDate, sanitizedConfig } = parts;
  const reloadSeals = parts.reloadSeals ?? noConfiguration;
  const storageTrouble = () => parts.storage.usage?.()?.trouble;
  const built = { storageType, version, buildDate, sanitizedConfig, storageTrouble, reloadSeals };
  return { rawStorage, introspection, commandLine, ...built };
}

async function noConfiguration(): Promise<void> {
  throw new CofferError("invalid_request", "this server was started without a configuration that could be read again");
}

/** What ends by itself: leases, and what requests made outside in vain. */
function endingOf(
  { clock, log, ttl, claimSeconds = CLAIM_SECONDS, confirmSeconds = CONFIRM_SECONDS }: ServerParts,
  barrier: Barrier,
  backends: () => Backends,
  events: Events,
) {
  const begin = () => barrier.begin();
  return {
    expiration: new Expiration({ backends, clock, log, ttl, events, begin, claimSeconds }),
    undoing: new Undoing({ barrier, backends, clock, log, ttl, claimSeconds, confirmSeconds }),
    journal: new Journal({ barrier, clock, log }),
    sweeps: new SweepCounts(),
  };
}

function sealWrapOf(parts: ServerParts, barrier: Barrier, seals: SealSet, backends: () => Backends): SealWrap {
  const { storage, clock, log, siblings, claimSeconds } = parts;
  const shared = siblings?.unseal.dataKeys;
  return new SealWrap({ storage, barrier, seals, clock, log, backends, shared, claimSeconds });
}

const SYS = "sys/";

function takesStream({ paths }: ReturnType<typeof sysBackend>, path: string): boolean {
  if (!path.startsWith(SYS)) return false;
  return paths.some((known) => known.takesStream && known.match(path.slice(SYS.length)) !== undefined);
}

/** The seals' copies of the keys, and who sees to them. */
function lookAfterSeals(
  { storage, clock, log, siblings }: ServerParts,
  { seals, node, barrier, sealWrap }: { seals: SealSet; node: Node; barrier: Barrier; sealWrap: SealWrap },
) {
  const copies = new SealCopies({ storage, barrier, clock });
  const sealWatch = new SealWatch({ seals, copies, node, clock, log, shared: siblings?.seals });
  sealWatch.onRenewed(sealWrap);
  return { copies, sealWatch };
}

export function assemble(parts: ServerParts): AssembledServer {
  const { clock, log, storage, ttl, siblings } = parts;
  const barrier = new Barrier({ storage, clock, log });
  const seals = new SealSet(parts.seals, parts.retiredSeals);
  const node = new Node({ storage, barrier, seals, clock, log, shared: siblings?.unseal });
  const tokens = new TokenService(clock);
  const policies = new PolicyStore(clock);
  const identity = new IdentityStore(clock);
  const audit = new AuditService(auditRegistry, log, clock);
  const decisions = new DecisionIds();
  const eventFeed = new EventFeed({ barrier, clock, log, server: siblings?.server });
  const events = new Events(clock, siblings?.events, eventFeed);
  const lockout = new Lockout(clock, parts.userLockouts, parts.host.environment);
  const loginMfa = new LoginMfa(clock, barrier);
  const initial = new InitialRecords(tokens, parts.clusterName);
  const inFlight = new InFlight(clock);
  const whole = siblings?.whole ?? aloneServer(parts.metrics, inFlight, log);
  const writeRootToken = (tx: Transaction) => initial.writeRootToken(tx);
  const ceremonies = createCeremonies({ storage, barrier, seals, node, clock, writeRootToken });
  const snapshots = new Snapshots({ ...parts, barrier, node, seals });
  const lazy: { backends?: Backends; services?: CoreServices } = {};
  const backendsOf = () => {
    if (!lazy.backends) throw new Error("the backends are made right below");
    return lazy.backends;
  };
  const held = new HeldRequests(() => {
    if (!lazy.services) throw new Error("the services are made right below");
    return lazy.services;
  });
  const sealWrap = sealWrapOf(parts, barrier, seals, backendsOf);
  const { copies, sealWatch } = lookAfterSeals(parts, { seals, node, barrier, sealWrap });
  const { expiration, undoing, journal, sweeps } = endingOf(parts, barrier, backendsOf, events);
  const { version, buildDate, sanitizedConfig } = parts;
  const system = sysBackend({
    ...{ clock, node, barrier, backends: backendsOf, tokens, policies, identity, expiration, audit, ttl, events, held },
    ...{ log, whole, lockout, loginMfa, decisions, initial, ceremonies, snapshots, seals, copies, sealWatch, sealWrap },
    ...settingsOf(parts),
  });
  const identities = identityBackend({ tokens, apiAddress: apiAddressOf(sanitizedConfig) });
  const singletons = [system, tokenBackend({ tokens, policies, expiration, identity }), identities];
  const backends = new Backends(
    { engines: [...engineRegistry, ...(parts.engines ?? [])], auth: authRegistry, singletons },
    parts.host,
  );
  lazy.backends = backends;
  node.onUnsealed(() => void noteVersion({ barrier, clock, log }, version, buildDate));
  const services: CoreServices = {
    ...{ clock, log, node, barrier, backends, tokens, policies, identity, expiration, lockout, loginMfa },
    ...{ journal, sweeps },
    turns: new Turns(clock),
    quotas: new Quotas(clock, siblings?.rates),
    decisions,
    audit,
    ttl,
    events,
    eventSource: `coffer://${parts.clusterName}`,
  };
  lazy.services = services;
  return {
    ...{ services, initial, inFlight, whole, snapshots, eventFeed, seals, copies, sealWatch, sealWrap },
    background: new Background({
      ...{ barrier, expiration, undoing, counts: sweeps, audit, events, eventFeed, clock, log, sealWrap },
      turn: siblings?.turn,
    }),
    takesStream: (path) => takesStream(system, path),
    serve: (request) => inFlight.during(request, () => serve(request, services)),
    pages: createPages(async () => (barrier.isSealed ? {} : readPageHeaders(barrier.begin()))),
    crossOrigin: async () => (barrier.isSealed ? undefined : readCrossOrigin(barrier.begin())),
  };
}
