// The seam between the barrier and the seal's layer on critical values (server/seal-wrap does it). The barrier is given
// one, or has none: then nothing is wrapped, and what is cannot be opened.
import type { KeyObject } from "node:crypto";

/** What the next values are wrapped by. */
export interface CurrentWrap {
  readonly generation: number;
  /** The data key for what stands at a storage key. Throws `unavailable` when no seal answers. */
  keyFor(storageKey: string): Promise<KeyObject>;
  /** The record that names the generation: whoever wraps by it commits only while it is so. */
  readonly fence: { readonly key: string; readonly version: bigint };
}

export interface ValueWrapper {
  /** Whether what stands at a storage key is wrapped whoever writes it. */
  isAlwaysCritical(storageKey: string): boolean;
  /** Undefined: nothing is wrapped now. */
  current(): Promise<CurrentWrap | undefined>;
  /** The data key, when it is in memory. */
  keyAtHand(generation: number, storageKey: string): KeyObject | undefined;
  /** The data key, by a seal if need be. Throws `unavailable` when none answers. */
  key(generation: number, storageKey: string): Promise<KeyObject>;
  /** Zeroes all keys. */
  forget(): void;
}
