// What supervisor and workers say to each other over the channel that a worker inherits at its start. Both ends are one
// program of one version, so the kind of a message tells its whole shape. Bytes travel as bytes ("advanced"
// serialisation), never as texts, and key material only in the messages that are named for it here:
//
//   add-share, entered   shares of the unseal key          opened, open, attached   the root key
//   data-key, found-data-key   the key of the server's own wrapped records
import type { LogLevel } from "#common/log.ts";
import type { MetricsSnapshot } from "#common/metrics-snapshot.ts";
import type { ConfigFile } from "../config/server-config.ts";
import type { FlightNote } from "../core/in-flight.ts";
import type { SealHealth } from "../core/seal-watch.ts";
import type { SealTrouble } from "../core/siblings.ts";
import type { ProgressStatus } from "../core/unseal-progress.ts";
import type { ServerEvent } from "../events/event.ts";
import type { Allowance, RateVerdict } from "../quotas/rate-limiter.ts";

/** A line of a worker's log, in both formats that readers may want. */
export interface RelayedLine {
  readonly level: LogLevel;
  readonly json: string;
  readonly text: string;
}

/** What others want to be sent. */
export interface Wanted {
  readonly events: boolean;
  readonly log: boolean;
}

export type ToSupervisor =
  /** The worker's parts are there: from now on it follows. Answered by "attached". */
  | { readonly kind: "attach" }
  | { readonly kind: "ready" }
  | { readonly kind: "add-share"; readonly share: Uint8Array }
  | { readonly kind: "progress" }
  | { readonly kind: "reset-shares" }
  | { readonly kind: "opened"; readonly rootKey: Uint8Array }
  | { readonly kind: "sealed" }
  /** A data key by its name, for workers that are started later. */
  | { readonly kind: "data-key"; readonly name: string; readonly key: Uint8Array }
  | { readonly kind: "find-data-key"; readonly name: string }
  | { readonly kind: "troubles"; readonly troubles: readonly SealTrouble[] }
  | { readonly kind: "want"; readonly topic: keyof Wanted; readonly wanted: boolean }
  | { readonly kind: "event"; readonly event: ServerEvent }
  | { readonly kind: "line"; readonly line: RelayedLine }
  /** Some events or lines were too many to be sent. */
  | { readonly kind: "lost" }
  | { readonly kind: "level"; readonly level: LogLevel | undefined }
  | { readonly kind: "take"; readonly client: string; readonly allowance: Allowance }
  /** This worker has read the configuration again; all are to. */
  | { readonly kind: "reread" }
  /** How the seals are, of the worker that looks after them. */
  | { readonly kind: "seal-health" }
  | { readonly kind: "all-metrics" }
  | { readonly kind: "all-in-flight" };

/** What a worker is told at its start. */
export interface WorkerStart {
  /** From 1. */
  readonly number: number;
  readonly count: number;
  /** Tells the server from others on the same storage. */
  readonly server: string;
  /** The configuration as the supervisor read it, the same for workers that are started later. */
  readonly files: readonly ConfigFile[];
}

export type ToWorker =
  | ({ readonly kind: "start" } & WorkerStart)
  | { readonly kind: "open"; readonly rootKey: Uint8Array }
  | { readonly kind: "seal" }
  /** Whether it still answers. */
  | { readonly kind: "ping" }
  /** This one of the workers asks the seals. */
  | { readonly kind: "lead" }
  /** This one looks after the seals. */
  | { readonly kind: "watch" }
  | { readonly kind: "seal-health" }
  | { readonly kind: "troubles"; readonly troubles: readonly SealTrouble[] }
  | { readonly kind: "wanted"; readonly wanted: Wanted }
  | { readonly kind: "event"; readonly event: ServerEvent }
  | { readonly kind: "line"; readonly line: RelayedLine }
  | { readonly kind: "lost" }
  | { readonly kind: "level"; readonly level: LogLevel | undefined }
  | { readonly kind: "metrics" }
  | { readonly kind: "in-flight" };

/** What a worker begins with once it follows. */
export interface Attached {
  readonly kind: "attached";
  readonly rootKey: Uint8Array | undefined;
  readonly lead: boolean;
  readonly watch: boolean;
  readonly level: LogLevel | undefined;
  readonly wanted: Wanted;
  readonly troubles: readonly SealTrouble[];
}

export type Answer =
  | { readonly kind: "done" }
  | Attached
  | { readonly kind: "found-data-key"; readonly key: Uint8Array | undefined }
  | { readonly kind: "entered"; readonly shares: readonly Uint8Array[] }
  | { readonly kind: "progress"; readonly progress: ProgressStatus }
  | { readonly kind: "verdict"; readonly verdict: RateVerdict }
  | { readonly kind: "metrics"; readonly snapshot: MetricsSnapshot; readonly seconds: number }
  | { readonly kind: "in-flight"; readonly notes: readonly FlightNote[] }
  | { readonly kind: "seal-health"; readonly health: readonly SealHealth[] | undefined };

export const done: Answer = { kind: "done" };
