// One server process: initialised or not, sealed or not. Performs what node-state.ts decides. It knows seals and
// barrier; mounts, tokens and policies are filled in by a function it is given.
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { Barrier } from "../barrier/barrier.ts";
import { combine } from "../seal/combine.ts";
import type { AutoSeal, WrappedKey } from "../seal/seal.ts";
import { SealError } from "../seal/seal.ts";
import type { Storage } from "../storage/storage.ts";
import { type InitOptions, KEY_BYTES, wrapFirstKeys } from "./first-keys.ts";
import { type NodeEvent, type NodeState, transition } from "./node-state.ts";
import type { SealSet } from "./seal-set.ts";
import {
  datedCopies,
  newSealWrites,
  ROOT_PURPOSE,
  readSeal,
  type SealConfig,
  type StoredSeal,
  sealConfigWrite,
  sealKeysWrite,
} from "./seal-store.ts";
import { type Migrated, migrationOf, planShares, type SealMigration, type SharePlan } from "./share-plan.ts";
import { aloneUnseal, type SealTrouble, type SharedUnseal } from "./siblings.ts";
import type { ProgressStatus } from "./unseal-progress.ts";

/** Shamir's x coordinates are one byte. */
export const SHARES_MAX = 255;
const MIGRATE_ATTEMPTS_MAX = 5;

export interface InitResult {
  readonly keys: readonly Buffer[];
  readonly recoveryKeys: readonly Buffer[];
}

export interface NodeDependencies {
  readonly storage: Storage;
  readonly barrier: Barrier;
  readonly seals: SealSet;
  readonly clock: Clock;
  readonly log: Log;
  /** The other workers of this server; none by default. */
  readonly shared?: SharedUnseal | undefined;
}

export class Node {
  readonly #deps: NodeDependencies;
  readonly #shared: SharedUnseal;
  #state: NodeState = "uninitialised";
  #stored: StoredSeal | undefined;
  #lastOpening: Promise<void> = Promise.resolve();
  #troubles: readonly SealTrouble[] = [];
  readonly #onUnsealed: (() => void)[] = [];
  constructor(dependencies: NodeDependencies) {
    this.#deps = dependencies;
    this.#shared = dependencies.shared ?? aloneUnseal();
  }

  get state(): NodeState {
    return this.#state;
  }
  get sealType(): string {
    if (!this.isAutoSeal) return "shamir";
    return this.#deps.seals.autos[0]?.type ?? this.#stored?.config.type ?? "shamir";
  }
  /**
   * Whether shares only authorise (those of a recovery key). A store is so from its initialisation to its migration,
   * whatever other seals the configuration has.
   */
  get isAutoSeal(): boolean {
    const config = this.#stored?.config;
    return config ? config.type !== "shamir" : this.#deps.seals.autos.length > 0;
  }
  /** Whether there are seals to ask. */
  get mayOpenByItself(): boolean {
    return this.#deps.seals.openers.length > 0;
  }
  get config(): SealConfig | undefined {
    return this.#stored?.config;
  }
  /** How many shares have been entered, on whatever worker of this server. */
  async progress(): Promise<ProgressStatus> {
    if (this.#state === "unsealed" && !this.migration) return { count: 0, nonce: "" };
    return this.#shared.progress.status();
  }
  /** What keeps the seals from opening, most recent attempt. */
  get troubles(): readonly SealTrouble[] {
    return this.#troubles;
  }
  /** Runs now if unsealed, and at every unseal from then on. */
  onUnsealed(run: () => void): void {
    this.#onUnsealed.push(run);
    if (this.#state === "unsealed") run();
  }

  /** Looks whether the store has been initialised (perhaps by another process). */
  async refresh(): Promise<NodeState> {
    if (this.#state !== "uninitialised") return this.#state;
    this.#stored = await readSeal(this.#deps.storage);
    if (this.#stored) this.#move("initialised");
    return this.#state;
  }

  /** Looks at the seals' blobs again: they change when keys are replaced, perhaps by another process. */
  async reload(): Promise<void> {
    this.#stored = (await readSeal(this.#deps.storage)) ?? this.#stored;
  }

  /** Makes the keys and the first records, all in one commit. Throws `invalid_request` when that was done before. */
  async initialize(options: InitOptions): Promise<InitResult> {
    if ((await this.refresh()) !== "uninitialised")
      throw new CofferError("invalid_request", "Vault is already initialized");
    await assertEmpty(this.#deps.storage);
    using rootKey = SecretBytes.random(KEY_BYTES);
    const made = await wrapFirstKeys(this.#deps.seals, rootKey, options);
    const config: SealConfig = {
      type: this.sealType,
      shares: this.isAutoSeal ? 1 : options.shares,
      threshold: this.isAutoSeal ? 1 : options.threshold,
      recoveryShares: options.recoveryShares,
      recoveryThreshold: options.recoveryThreshold,
    };
    const now = this.#deps.clock.now();
    const keys = { root: datedCopies(made.root, [], now), recovery: datedCopies(made.recovery, [], now) };
    const plain = newSealWrites(config, keys);
    const outcome = await this.#deps.barrier.initialize({ rootKey, plain, fill: options.fill });
    if (outcome === "conflict") throw new CofferError("invalid_request", "Vault is already initialized");
    this.#troubles = [];
    await this.refresh();
    this.#deps.log.info("initialised", { seal: config.type });
    if (this.isAutoSeal) await this.#open(rootKey);
    return { keys: made.keys, recoveryKeys: made.recoveryKeys };
  }

  /** One try of all auto seals in order of priority. True when the node is unsealed afterwards. */
  async tryAutoUnseal(signal?: AbortSignal): Promise<boolean> {
    await this.refresh();
    await this.reload();
    if (this.#state !== "sealed" || !this.#stored) return this.#state === "unsealed";
    const troubles: SealTrouble[] = [];
    for (const seal of this.#deps.seals.openers) {
      const wrapped = this.#stored.keys.root.find((key) => key.seal === seal.name);
      if (!wrapped) continue;
      const trouble = await this.#openBy(seal, wrapped, signal);
      if (!trouble) {
        this.#troubles = [];
        return true;
      }
      troubles.push(trouble);
    }
    this.#note(troubles);
    return false;
  }

  async #openBy(
    seal: AutoSeal,
    wrapped: WrappedKey,
    signal: AbortSignal | undefined,
  ): Promise<SealTrouble | undefined> {
    try {
      using rootKey = await seal.unwrap(wrapped, ROOT_PURPOSE, signal);
      await this.#open(rootKey);
      return undefined;
    } catch (error) {
      const fault = error instanceof SealError ? error.fault : "Failed";
      const message = error instanceof Error ? error.message : String(error);
      const before = this.#troubles.find((known) => known.seal === seal.name && known.fault === fault);
      return { seal: seal.name, fault, message, sinceMillis: before?.sinceMillis ?? this.#deps.clock.now() };
    }
  }

  /** Keeps what went wrong while initialising, so that status can say why the node does not come up. */
  noteTrouble(error: unknown): void {
    const seal = this.#deps.seals.active[0]?.name ?? "";
    const fault = error instanceof SealError ? error.fault : "Failed";
    const before = this.#troubles.find((known) => known.fault === fault);
    const sinceMillis = before?.sinceMillis ?? this.#deps.clock.now();
    this.#note([{ seal, fault, message: messageOf(error), sinceMillis }]);
  }

  #note(troubles: readonly SealTrouble[]): void {
    this.#troubles = troubles;
    this.#shared.troubled(troubles);
  }

  /** What the configuration asks for and only holders of shares can do. */
  get migration(): SealMigration | undefined {
    return migrationOf(this.#stored?.config, this.#deps.seals);
  }

  /**
   * One more share, which is the node's from now on. With `migrate` it is for a change of seals, for which the server need
   * not be sealed. Throws `invalid_request` for a share that cannot be one, when the set does not open, or when shares do
   * nothing here.
   */
  async submitShare(share: SecretBytes, migrate = false): Promise<void> {
    await this.refresh();
    await this.reload();
    const stored = this.#stored;
    const isTaken = stored && (this.#state === "sealed" || (this.#state === "unsealed" && migrate));
    if (!isTaken) share[Symbol.dispose]();
    if (!stored) throw new CofferError("invalid_request", "server is not yet initialized; run 'coffer operator init'");
    if (!isTaken) return;
    const plan = planShares(stored, this.#deps.seals, migrate);
    const entered = await this.#shared.progress.add(share);
    try {
      if (entered.length >= plan.threshold) await this.#openByShares(plan, entered);
      // Others' shares were enough meanwhile: this one must not stay for the next time.
      else if (!migrate && !this.#is("sealed")) await this.#shared.progress.reset();
    } finally {
      for (const copy of entered) copy[Symbol.dispose]();
    }
  }

  async #openByShares(plan: SharePlan, shares: readonly SecretBytes[]): Promise<void> {
    try {
      using key = combine(shares, plan.threshold);
      using rootKey = await plan.rootKey(key);
      await this.#open(rootKey);
      if (plan.migrated) await this.#migrate(key, rootKey);
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      const message = "unseal failed, invalid key; enter the shares again";
      throw new CofferError("invalid_request", plan.migrated ? `${message}: ${error.message}` : message, {
        cause: error,
      });
    } finally {
      await this.#shared.progress.reset();
    }
  }

  /**
   * Begins anew when the keys have changed meanwhile, as they do when seals get their copies. The emergency set is not
   * taken along: it was made for the seals that are given up.
   */
  async #migrate(key: SecretBytes, rootKey: SecretBytes): Promise<void> {
    for (let attempt = 0; attempt < MIGRATE_ATTEMPTS_MAX; attempt++) {
      await this.reload();
      const stored = this.#stored;
      if (!stored || !this.migration) return;
      const migrated = await planShares(stored, this.#deps.seals, true).migrated?.(key, rootKey);
      if (!migrated || (await this.#commitMigrated(stored, migrated, rootKey)) === "conflict") continue;
      await this.reload();
      this.#deps.log.info("the seal was migrated", { from: stored.config.type, to: migrated.config.type });
      return;
    }
    throw new CofferError("conflict", "other processes keep changing the keys; enter the shares again");
  }

  #commitMigrated(stored: StoredSeal, { config, keys }: Migrated, rootKey: SecretBytes) {
    const now = this.#deps.clock.now();
    const root = datedCopies(keys.root, stored.keys.root, now);
    const recovery = datedCopies(keys.recovery, stored.keys.recovery, now);
    return this.#deps.barrier.commitCopies(rootKey, [
      sealKeysWrite({ root, recovery }, stored.keysVersion),
      sealConfigWrite(config, stored.configVersion),
    ]);
  }

  resetShares(): Promise<void> {
    return this.#shared.progress.reset();
  }

  /** The root key as another worker found it, which is told nothing back. Throws SealError when it does not fit. */
  async adopt(rootKey: SecretBytes): Promise<void> {
    await this.refresh();
    await this.#inTurn(() => this.#openNow(rootKey));
    this.#troubles = [];
  }

  /** What another worker's seals say, shown here as well while this one waits for it. */
  adoptTroubles(troubles: readonly SealTrouble[]): void {
    this.#troubles = troubles;
  }

  /** Tells the other workers of a root key that was replaced. */
  async passOnRootKey(): Promise<void> {
    using rootKey = this.#deps.barrier.cloneRootKey();
    await this.#shared.opened(rootKey);
  }

  async #open(rootKey: SecretBytes): Promise<void> {
    if ((await this.#inTurn(() => this.#openNow(rootKey))) === "opened") await this.#shared.opened(rootKey);
  }

  /** One after the other: shares and seals may open at the same time, and the node stops or is sealed meanwhile. */
  #inTurn<T>(open: () => Promise<T>): Promise<T> {
    const opening = this.#lastOpening.then(open);
    this.#lastOpening = opening.then(
      () => {},
      () => {},
    );
    return opening;
  }

  async #openNow(rootKey: SecretBytes): Promise<"opened" | "not_sealed"> {
    if (!this.#is("sealed")) return "not_sealed";
    if ((await this.#deps.barrier.unseal(rootKey)) === "wrong_key") {
      throw new SealError("InvalidCiphertext", "the seal opened a key that does not fit this store", {
        transient: false,
      });
    }
    if (!this.#is("sealed")) {
      this.#deps.barrier.seal();
      return "not_sealed";
    }
    this.#move("opened");
    this.#deps.log.info("unsealed");
    for (const run of this.#onUnsealed) run();
    return "opened";
  }

  /** Forgets all keys, here and on the server's other workers. It stays sealed until it is unsealed or restarted. */
  async seal(): Promise<void> {
    this.sealHere();
    await this.#shared.sealed();
  }

  sealHere(): void {
    if (this.#state !== "unsealed") return;
    this.#deps.barrier.seal();
    this.#move("closed");
    this.#deps.log.info("sealed");
  }

  stop(): void {
    this.#shared.progress.close();
    this.#deps.barrier.seal();
    this.#move("stopped");
  }

  #is(state: NodeState): boolean {
    return this.#state === state;
  }

  #move(event: NodeEvent): void {
    this.#state = transition(this.#state, event) ?? this.#state;
  }
}

/** Records without keys are those of a server that has lost its own; new keys would be written over what is left. */
async function assertEmpty(storage: Storage): Promise<void> {
  const [first] = await storage.scan({ from: "", to: "\u{10ffff}", limit: 1 });
  if (first === undefined) return;
  const message = `the storage holds records (the first is at path ${first}) and no keys to them; restore a snapshot, or choose an empty storage`;
  throw new CofferError("invalid_request", message);
}
