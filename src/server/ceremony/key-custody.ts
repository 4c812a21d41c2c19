// The keys that open the store and those who hold shares of one: checks shares, puts new keys in place of old ones.
// Whether the store is unsealed by shares (then they are of the key that wraps the root key) or by a seal of its own
// (then they are of the recovery key, which opens nothing and only authorises) makes the difference everywhere here.
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { Barrier } from "../barrier/barrier.ts";
import { commitPlain } from "../barrier/plain-store.ts";
import type { Node } from "../core/node.ts";
import { openByAny } from "../core/seal-copies.ts";
import type { SealSet } from "../core/seal-set.ts";
import {
  datedCopies,
  type KeyCopy,
  RECOVERY_PURPOSE,
  ROOT_PURPOSE,
  readSeal,
  type SealConfig,
  type SealKeys,
  type StoredSeal,
  sealConfigWrite,
  sealKeysWrite,
} from "../core/seal-store.ts";
import { combine } from "../seal/combine.ts";
import { newEmergencyKey, wrapAgain, wrapForEmergency } from "../seal/emergency.ts";
import { SealError, type ShamirSeal, type WrappedKey } from "../seal/seal.ts";
import type { Split } from "../seal/split.ts";
import type { Storage } from "../storage/storage.ts";

const KEY_BYTES = 32;

export interface CustodyDependencies {
  readonly storage: Storage;
  readonly barrier: Barrier;
  readonly seals: SealSet;
  readonly node: Node;
  readonly clock: Clock;
}

export class KeyCustody {
  readonly #deps: CustodyDependencies;
  constructor(dependencies: CustodyDependencies) {
    this.#deps = dependencies;
  }

  get isAutoSeal(): boolean {
    return this.#deps.node.isAutoSeal;
  }

  /** How many shares authorise; 0 with an auto seal for which no recovery keys were made. */
  async required(): Promise<number> {
    const { config } = await this.#stored();
    return this.isAutoSeal ? config.recoveryThreshold : config.threshold;
  }

  /** Whether these shares, as many as are required, are the right ones. */
  async authorise(shares: readonly SecretBytes[]): Promise<boolean> {
    const stored = await this.#stored();
    try {
      using key = combine(shares, await this.required());
      return this.isAutoSeal ? await this.#isRecoveryKey(stored, key) : this.#opensRootKey(stored, key);
    } catch (error) {
      if (error instanceof CofferError && error.code === "invalid_request") return false;
      throw error;
    }
  }

  #opensRootKey({ keys }: StoredSeal, kek: SecretBytes): boolean {
    const seal = this.#shamirSeal();
    const wrapped = keys.root.find((candidate) => candidate.seal === seal.name);
    if (!wrapped) return false;
    try {
      using rootKey = seal.unwrap(wrapped, ROOT_PURPOSE, kek);
      using current = this.#deps.barrier.cloneRootKey();
      return rootKey.equals(current);
    } catch (error) {
      if (error instanceof SealError) return false;
      throw error;
    }
  }

  async #isRecoveryKey({ keys }: StoredSeal, key: SecretBytes): Promise<boolean> {
    using recoveryKey = await openByAny(keys.recovery, RECOVERY_PURPOSE, this.#deps.seals.openers);
    return recoveryKey.equals(key);
  }

  /** A new key to split: the one that wraps the root key, or a recovery key. The caller disposes it. */
  newKey(): SecretBytes {
    return SecretBytes.random(KEY_BYTES);
  }

  /**
   * Makes a new root key, wrapped by every seal that opens by itself. Where shares open the store it is wrapped by `kek`
   * too, whose split is given; elsewhere `kek` has no part in it. Throws `unavailable` when a seal does not answer, `conflict` when another process was first.
   */
  async replaceRootKey(kek: SecretBytes, split: Split): Promise<void> {
    const stored = await this.#stored();
    using rootKey = this.newKey();
    const isAuto = this.isAutoSeal;
    const byShares = isAuto ? [] : [this.#shamirSeal().wrap(rootKey, ROOT_PURPOSE, kek)];
    const root = [...byShares, ...(await this.#wrapByAll(rootKey, ROOT_PURPOSE))];
    const config = isAuto ? stored.config : { ...stored.config, ...split };
    const emergency = this.#emergencyAgain(stored, rootKey);
    const writes = sealWrites(stored, config, { ...stored.keys, root: this.#dated(root, stored.keys.root), emergency });
    assertCommitted(await this.#deps.barrier.rekey(rootKey, writes));
    await this.#deps.node.reload();
    await this.#deps.node.passOnRootKey();
  }

  #emergencyAgain({ keys: { emergency } }: StoredSeal, rootKey: SecretBytes): KeyCopy | undefined {
    if (!emergency) return undefined;
    using current = this.#deps.barrier.cloneRootKey();
    const [copy] = this.#dated([wrapAgain(emergency, current, rootKey, ROOT_PURPOSE)], [emergency]);
    return copy;
  }

  /** Puts an emergency set in place of the old one, if there was one. Throws `invalid_request`, `conflict`. */
  async replaceEmergencyKey(key: SecretBytes, split: Split): Promise<void> {
    this.assertEmergencyPossible();
    const stored = await this.#stored();
    const seal = this.#shamirSeal().name;
    using rootKey = this.#deps.barrier.cloneRootKey();
    const before = stored.keys.emergency;
    const [emergency] = this.#dated(
      [wrapForEmergency(rootKey, ROOT_PURPOSE, { seal, secret: key })],
      before ? [before] : [],
    );
    const config = { ...stored.config, emergencyShares: split.shares, emergencyThreshold: split.threshold };
    const writes = sealWrites(stored, config, { ...stored.keys, emergency });
    assertCommitted(await this.#deps.barrier.commitCopies(rootKey, writes));
    await this.#deps.node.reload();
  }

  /** Throws `invalid_request` with what has to be done first. */
  assertEmergencyPossible(): void {
    if (!this.isAutoSeal)
      throw new CofferError(
        "invalid_request",
        "this server is unsealed by shares already; an emergency set is for others",
      );
    if (!this.#deps.seals.activeShamir)
      throw new CofferError(
        "invalid_request",
        'the configuration has no emergency set: add seal "shamir" { name = "emergency" }',
      );
  }

  newEmergencyKey(): SecretBytes {
    return newEmergencyKey();
  }

  /** Puts a recovery key in place of the old one, if there was one. Throws as replaceRootKey does. */
  async replaceRecoveryKey(key: SecretBytes, split: Split): Promise<void> {
    const stored = await this.#stored();
    const recovery = this.#dated(await this.#wrapByAll(key, RECOVERY_PURPOSE), stored.keys.recovery);
    const config = { ...stored.config, recoveryShares: split.shares, recoveryThreshold: split.threshold };
    assertCommitted(await commitPlain(this.#deps.storage, sealWrites(stored, config, { ...stored.keys, recovery })));
    await this.#deps.node.reload();
  }

  /** Every seal must answer: one that is left out would open with a key that is over. */
  async #wrapByAll(key: SecretBytes, purpose: string): Promise<readonly WrappedKey[]> {
    try {
      return await Promise.all(this.#deps.seals.autos.map((seal) => seal.wrap(key, purpose)));
    } catch (cause) {
      throw new CofferError("unavailable", `a seal does not answer, nothing was changed: ${messageOf(cause)}`, {
        cause,
      });
    }
  }

  #shamirSeal(): ShamirSeal {
    const seal = this.#deps.seals.shamir;
    if (seal) return seal;
    const message = "the store is unsealed by shares, and the configuration has no shamir seal; add the stanza again";
    throw new CofferError("invalid_request", message);
  }

  #dated(made: readonly WrappedKey[], before: readonly KeyCopy[]): readonly KeyCopy[] {
    return datedCopies(made, before, this.#deps.clock.now());
  }

  async #stored(): Promise<StoredSeal> {
    const stored = await readSeal(this.#deps.storage);
    if (!stored) throw new CofferError("uninitialized", "the server is not initialised");
    return stored;
  }
}

function sealWrites(stored: StoredSeal, config: SealConfig, keys: SealKeys) {
  return [sealKeysWrite(keys, stored.keysVersion), sealConfigWrite(config, stored.configVersion)];
}

function assertCommitted(outcome: "committed" | "conflict"): void {
  if (outcome === "conflict")
    throw new CofferError("conflict", "another process has just changed the keys; nothing was changed here");
}
