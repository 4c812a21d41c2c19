// What commands do with the machine that holds a seal's key, at the machine itself: look at it, make the key, and where a
// cloud runs it, look at its backups and make a new one from a backup. No server takes part.
import type { JsonObject } from "#common/json.ts";

export interface KeyMachine {
  /** The token, the scheme and the key as the seal would use them. Throws SealError. */
  status(): Promise<TokenStatus>;
  /** Makes the key inside. Throws SealError when there is one, or when it cannot be made. */
  createKey(): Promise<TokenStatus>;
  /** The cluster behind the machine; undefined when the configuration names none. */
  readonly cluster: MachineCluster | undefined;
  close(): Promise<void>;
}

export interface TokenStatus {
  readonly library: string;
  readonly token: string;
  readonly serial: string;
  readonly slot: number;
  /** How keys are wrapped: chosen from what the token offers. */
  readonly scheme: string;
  readonly keyLabel: string;
  /** Hexadecimal CKA_ID; undefined: there is no such key. */
  readonly keyId: string | undefined;
  /** The second key of schemes that need one; undefined: this one does not. */
  readonly hmacKey: { readonly label: string; readonly isThere: boolean } | undefined;
}

export interface RestoreWish {
  /** Default: the newest that is ready. */
  readonly backupId: string | undefined;
  /** Default: those of the old cluster. */
  readonly subnetIds: readonly string[];
  /** Default: that of the old cluster. */
  readonly hsmType: string | undefined;
  /** How many HSMs to make, each in a zone of its own. */
  readonly hsms: number;
  readonly retentionDays: number | undefined;
}

export interface RestorePlan {
  readonly region: string;
  readonly backupId: string;
  readonly backupCreated: string | undefined;
  readonly subnetIds: readonly string[];
  readonly hsmType: string;
  readonly hsms: number;
  readonly retentionDays: number | undefined;
  /** A cluster that was made from the backup before, perhaps by a command that was ended: goes on with it. */
  readonly existingId: string | undefined;
}

export interface MachineCluster {
  /** The cluster as status shows it, with its warnings. Throws ControlPlaneError. */
  look(): Promise<JsonObject>;
  /** Backups of the cluster, or of the whole region; the newest first. Throws ControlPlaneError. */
  backups(options: { readonly isWholeRegion: boolean }): Promise<readonly JsonObject[]>;
  /** Changes nothing. Throws ControlPlaneError, `invalid_request`. */
  planRestore(wish: RestoreWish): Promise<RestorePlan>;
  /** Carries a plan out; `step` hears what happens. Gives the new cluster. Throws ControlPlaneError. */
  restore(plan: RestorePlan, step: (text: string) => void, signal: AbortSignal): Promise<JsonObject>;
}
