// What the worker processes of one server do together, as the parts of a worker are given it; src/server/workers does it
// over the supervisor. A server of one process has no siblings, and each part does the same for itself alone.
import type { Log, LogLevel } from "#common/log.ts";
import type { Metrics } from "#common/metrics.ts";
import type { MetricsSnapshot } from "#common/metrics-snapshot.ts";
import type { SecretBytes } from "#common/secret-bytes.ts";
import type { EventRelay } from "../events/event-relay.ts";
import type { RateCounter } from "../quotas/rate-limiter.ts";
import type { Turn } from "./background.ts";
import type { FlightNote, InFlight } from "./in-flight.ts";
import type { SealHealth } from "./seal-watch.ts";
import { ownProgress, type UnsealProgress } from "./unseal-progress.ts";

/**
 * The data key of the server's own wrapped records, kept for workers that are started later. A name says which
 * generation of which store: after a restore of another cluster's snapshot the same generation has another key.
 */
export interface SharedDataKeys {
  keep(name: string, key: SecretBytes): Promise<void>;
  /** The caller disposes it. */
  find(name: string): Promise<SecretBytes | undefined>;
}

/** One unseal, and one seal, for all. */
export interface SharedUnseal {
  readonly dataKeys?: SharedDataKeys;
  readonly progress: UnsealProgress;
  /** This worker has the root key. Resolves when the others have it too. */
  opened(rootKey: SecretBytes): Promise<void>;
  /** This worker has forgotten its keys. Resolves when nobody has them any more. */
  sealed(): Promise<void>;
  /** Why this worker's seals do not open, for the others' status. */
  troubled(troubles: readonly SealTrouble[]): void;
}

/** Why a seal did not open, for status and metrics. */
export interface SealTrouble {
  readonly seal: string;
  readonly fault: string;
  readonly message: string;
  readonly sinceMillis: number;
}

/** One worker looks after the seals for all, so that a KMS is asked once for each server. */
export interface SharedSealWatch {
  /** Aborts when this worker is the one. */
  readonly mine: AbortSignal;
  /** What that one found; undefined when it has not answered yet. */
  health(): Promise<readonly SealHealth[] | undefined>;
}

/** What belongs to the server as a whole, from all its processes. */
export interface WholeServer {
  metrics(): Promise<MetricsSnapshot>;
  /** Seconds for which these metrics have been counting. */
  countingSeconds(): number;
  inFlight(): Promise<readonly FlightNote[]>;
  /** Undefined: as at the start. */
  setLogLevel(level: LogLevel | undefined): Promise<void>;
  /** Has the other processes read the configuration again, as this one has. */
  reread(): Promise<void>;
}

export interface Siblings {
  /** Tells this server from others; the same for all its workers, new at each start. */
  readonly server: string;
  /** When this worker's background work has its turn. */
  readonly turn: Turn;
  readonly unseal: SharedUnseal;
  readonly seals: SharedSealWatch;
  readonly whole: WholeServer;
  readonly events: EventRelay;
  readonly rates: RateCounter;
}

/** Of a server of one process. */
export function aloneServer(metrics: Metrics, inFlight: Pick<InFlight, "list">, log: Log): WholeServer {
  return {
    metrics: async () => metrics.snapshot(),
    countingSeconds: () => process.uptime(),
    inFlight: async () => inFlight.list(),
    setLogLevel: async (level) => log.threshold.change(level),
    reread: async () => {},
  };
}

/** Of a server of one process. */
export function aloneUnseal(): SharedUnseal {
  const done = async () => {};
  return { progress: ownProgress(), opened: done, sealed: done, troubled: () => {} };
}
