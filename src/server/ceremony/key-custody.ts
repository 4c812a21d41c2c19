// The keys that open the store and those who hold shares of one: checks shares, puts new keys in place of old ones.
// Whether the store is unsealed by shares (then they are of the key that wraps the root key) or by a seal of its own
// (then they are of the recovery key, which opens nothing and only authorises) makes the difference everywhere here.
import { CofferError, messageOf } from "#common/errors.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { Barrier } from "../barrier/barrier.ts";
import { commitPlain } from "../barrier/plain-store.ts";
import type { Node } from "../core/node.ts";
import {
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
import { type AutoSeal, type Seal, SealError, type ShamirSeal, type WrappedKey } from "../seal/seal.ts";
import type { Split } from "../seal/split.ts";
import type { Storage } from "../storage/storage.ts";

const KEY_BYTES = 32;

export interface CustodyDependencies {
  readonly storage: Storage;
  readonly barrier: Barrier;
  readonly seals: readonly Seal[];
  readonly node: Node;
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
    const faults: string[] = [];
    for (const seal of this.#autoSeals()) {
      const wrapped = keys.recovery.find((candidate) => candidate.seal === seal.name);
      if (!wrapped) continue;
      try {
        using recoveryKey = await seal.unwrap(wrapped, RECOVERY_PURPOSE);
        return recoveryKey.equals(key);
      } catch (error) {
        faults.push(messageOf(error));
      }
    }
    throw new CofferError("unavailable", `no seal could open the recovery key: ${faults.join("; ")}`);
  }

  /** A new key to split: the one that wraps the root key, or a recovery key. The caller disposes it. */
  newKey(): SecretBytes {
    return SecretBytes.random(KEY_BYTES);
  }

  /**
   * Makes a new root key. With shares it is wrapped by `kek`, whose split is given; with an auto seal by every seal, and
   * `kek` has no part in it. Throws `unavailable` when a seal does not answer, `conflict` when another process was first.
   */
  async replaceRootKey(kek: SecretBytes, split: Split): Promise<void> {
    const stored = await this.#stored();
    using rootKey = this.newKey();
    const root = this.isAutoSeal
      ? await this.#wrapByAll(rootKey, ROOT_PURPOSE)
      : [this.#shamirSeal().wrap(rootKey, ROOT_PURPOSE, kek)];
    const config = this.isAutoSeal ? stored.config : { ...stored.config, ...split };
    const writes = sealWrites(stored, config, { ...stored.keys, root });
    assertCommitted(await this.#deps.barrier.rekey(rootKey, writes));
    await this.#deps.node.reload();
    await this.#deps.node.passOnRootKey();
  }

  /** Puts a recovery key in place of the old one, if there was one. Throws as replaceRootKey does. */
  async replaceRecoveryKey(key: SecretBytes, split: Split): Promise<void> {
    const stored = await this.#stored();
    const recovery = await this.#wrapByAll(key, RECOVERY_PURPOSE);
    const config = { ...stored.config, recoveryShares: split.shares, recoveryThreshold: split.threshold };
    assertCommitted(await commitPlain(this.#deps.storage, sealWrites(stored, config, { ...stored.keys, recovery })));
    await this.#deps.node.reload();
  }

  /** Every seal must answer: one that is left out would open with a key that is over. */
  async #wrapByAll(key: SecretBytes, purpose: string): Promise<readonly WrappedKey[]> {
    try {
      return await Promise.all(this.#autoSeals().map((seal) => seal.wrap(key, purpose)));
    } catch (cause) {
      throw new CofferError("unavailable", `a seal does not answer, nothing was changed: ${messageOf(cause)}`, {
        cause,
      });
    }
  }

  #autoSeals(): readonly AutoSeal[] {
    return this.#deps.seals.filter((seal): seal is AutoSeal => seal.kind === "auto");
  }

  #shamirSeal(): ShamirSeal {
    const seal = this.#deps.seals.find((candidate) => candidate.kind === "shamir");
    if (seal?.kind !== "shamir") throw new Error("a node without an auto seal has the shamir seal");
    return seal;
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
