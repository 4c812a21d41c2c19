// What a kind of seal is to the registry: a word in the configuration and a function that makes the seal from its
// stanza. Seals get files, environment and time from here, never from the process.
import type { Clock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import type { KeyMachine } from "./key-machine.ts";
import type { Seal } from "./seal.ts";

/** What seals are given. */
export interface SealDependencies {
  /** The cluster's name as configured; bound to ciphertexts by seals that can, so it must not change later. */
  readonly clusterName: string;
  readonly clock: Clock;
  /** Reads a whole file, given by an absolute path or one relative to the working directory. */
  readFile(path: string): Promise<Buffer>;
  /** A variable of the environment. */
  environment(name: string): string | undefined;
  /** Given by servers. Without it a seal does nothing beside its calls. */
  readonly background?: SealBackground | undefined;
}

/** For what a seal does in the background of a server. */
export interface SealBackground {
  readonly log: Log;
  /** Told after each look at the machines behind a seal. */
  noteMachinery?(state: MachineryState): void;
}

/** What metrics tell of the machines behind a seal. */
export interface MachineryState {
  readonly seal: string;
  readonly warnings: number;
  /** False: the last look failed, and the rest is of an older one. */
  readonly isKnown: boolean;
  /** HSMs that serve; undefined as long as nobody knows. */
  readonly active: number | undefined;
  readonly backupAgeMillis: number | undefined;
}

/** One kind of seal. */
export interface SealType {
  /** The word after `seal` in the configuration. */
  readonly type: string;
  /** Makes a seal from its stanza. Throws `invalid_request` naming the field. Does not contact anything. */
  parse(config: JsonObject, dependencies: SealDependencies): Promise<Seal>;
  /** Of seals whose key is in a machine that commands may work at. Throws and contacts as `parse`. */
  machine?(config: JsonObject, dependencies: SealDependencies): KeyMachine;
}

/** Members that every stanza may have and that are the configuration's business, not the seal's. */
export const STANZA_MEMBERS = ["name", "disabled", "priority"] as const;
