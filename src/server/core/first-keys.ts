// The keys of a store that is being initialised: who holds them, and in what shares they leave.
import { SecretBytes } from "#common/secret-bytes.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { WrappedKey } from "../seal/seal.ts";
import { split } from "../seal/split.ts";
import type { SealSet } from "./seal-set.ts";
import { RECOVERY_PURPOSE, ROOT_PURPOSE } from "./seal-store.ts";

/** Of root, recovery and key-encryption keys. */
export const KEY_BYTES = 32;

export interface InitOptions {
  readonly shares: number;
  readonly threshold: number;
  readonly recoveryShares: number;
  readonly recoveryThreshold: number;
  /** Turns shares into what leaves (encrypted to somebody, say), before anything is committed. As they are by default. */
  handOut?(shares: readonly SecretBytes[], of: "unseal" | "recovery"): Promise<readonly Buffer[]>;
  /** Writes the first records in the commit that initialises. */
  fill(tx: Transaction): Promise<void>;
}

interface FirstKeys {
  readonly root: readonly WrappedKey[];
  readonly recovery: readonly WrappedKey[];
  /** Shares of the unseal key. */
  readonly keys: readonly Buffer[];
  readonly recoveryKeys: readonly Buffer[];
}

/** Wraps the root key by the seals that open by themselves; where there are none, by a key in shares. */
export function wrapFirstKeys(seals: SealSet, rootKey: SecretBytes, options: InitOptions): Promise<FirstKeys> {
  return seals.autos.length > 0 ? wrapByAutoSeals(seals, rootKey, options) : wrapByShares(seals, rootKey, options);
}

async function wrapByShares(seals: SealSet, rootKey: SecretBytes, options: InitOptions): Promise<FirstKeys> {
  const seal = seals.activeShamir;
  if (!seal) throw new Error("a node without an auto seal has the shamir seal");
  using kek = SecretBytes.random(KEY_BYTES);
  const keys = await handOut(options, "unseal", split(kek, options));
  return { root: [seal.wrap(rootKey, ROOT_PURPOSE, kek)], recovery: [], keys, recoveryKeys: [] };
}

async function wrapByAutoSeals({ autos }: SealSet, rootKey: SecretBytes, options: InitOptions): Promise<FirstKeys> {
  const root = await Promise.all(autos.map((seal) => seal.wrap(rootKey, ROOT_PURPOSE)));
  if (options.recoveryShares === 0) return { root, recovery: [], keys: [], recoveryKeys: [] };
  using recoveryKey = SecretBytes.random(KEY_BYTES);
  const recovery = await Promise.all(autos.map((seal) => seal.wrap(recoveryKey, RECOVERY_PURPOSE)));
  const shares = split(recoveryKey, { shares: options.recoveryShares, threshold: options.recoveryThreshold });
  return { root, recovery, keys: [], recoveryKeys: await handOut(options, "recovery", shares) };
}

async function handOut(options: InitOptions, of: "unseal" | "recovery", shares: readonly SecretBytes[]) {
  return options.handOut ? options.handOut(shares, of) : shares.map((share) => share.expose());
}
