// Seal wrap as the server has it: the barrier's seam to the seal's layer, the background work that keeps copies and
// entries as they should be, and what status shows. docs/guides/seal-wrap.md explains it.
import { hkdfSync } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { CurrentWrap, ValueWrapper } from "../barrier/value-wrapper.ts";
import type { SealSet } from "../core/seal-set.ts";
import type { SharedDataKeys } from "../core/siblings.ts";
import type { Backends } from "../mounts/backends.ts";
import type { Storage } from "../storage/storage.ts";
import { isAlwaysCritical } from "./critical.ts";
import { DataKeys } from "./data-keys.ts";
import { markOlderMounts } from "./mark-older-mounts.ts";
import { RewrapWork } from "./rewrap.ts";
import { EVERYTHING, queueRewrap, type Rewrap, readRewrap } from "./rewrap-record.ts";
import { TermRetirement } from "./term-retirement.ts";
import { WrapCopies } from "./wrap-copies.ts";
import { currentGeneration, readWrapKeys, WRAP_KEYS_KEY, type WrapKeys } from "./wrap-keys.ts";

/** Between two looks at the copies; a seal that was added or has come back gets its own at most this much later. */
export const LOOK_MILLIS = 30_000;
/** Between two rounds when nothing is to do. */
const IDLE_MILLIS = 1_000;
const PAUSE_MILLIS_MAX = 25;
/** Slices of the rewrap in one round of the background, so that what else is due has its turn. */
const SLICES_MAX = 4;

export interface SealWrapDependencies {
  readonly storage: Storage;
  readonly barrier: Barrier;
  readonly seals: SealSet;
  readonly clock: Clock;
  readonly log: Log;
  /** Of the server's other workers. */
  readonly shared?: SharedDataKeys | undefined;
  /** Of claims on the rewrap. */
  readonly claimSeconds?: number | undefined;
  /** For marking mounts of old; not where there is no background work. Made later than this. */
  backends?(): Backends;
}

export interface SealWrapStatus {
  readonly keys: WrapKeys | undefined;
  readonly rewrap: Rewrap;
}

export class SealWrap {
  /** Of the barrier's keyring: what the rewrap lets go. */
  readonly terms: TermRetirement;
  readonly #deps: SealWrapDependencies;
  readonly #copies: WrapCopies;
  readonly #dataKeys: DataKeys;
  readonly #work: RewrapWork;
  #nextLook: Millis = 0;
  /** The server's own data key is in memory. */
  #isReady = false;

  /** The barrier wraps by it from now on. */
  constructor(dependencies: SealWrapDependencies) {
    this.#deps = dependencies;
    this.#copies = new WrapCopies(dependencies);
    this.#dataKeys = new DataKeys(
      dependencies.clock,
      (generation) => this.#copies.open(generation),
      dependencies.shared && { keys: dependencies.shared, storeId: () => storeId(dependencies.barrier) },
    );
    this.#work = new RewrapWork(dependencies);
    const { barrier, clock } = dependencies;
    this.terms = new TermRetirement({ barrier, clock, start: (tx) => this.start(tx) });
    dependencies.barrier.wrapBy(this.#wrapper());
  }

  #wrapper(): ValueWrapper {
    const keys = this.#dataKeys;
    return {
      isAlwaysCritical,
      current: () => this.#current(),
      keyAtHand: (generation, storageKey) => keys.atHand(generation, storageKey),
      key: (generation, storageKey) => keys.get(generation, storageKey),
      forget: () => {
        keys.clear();
        this.#nextLook = 0;
        this.#isReady = false;
      },
    };
  }

  async #current(): Promise<CurrentWrap | undefined> {
    const { barrier } = this.#deps;
    const found = await barrier.readVersioned(WRAP_KEYS_KEY, readWrapKeys);
    const generation = currentGeneration(found.record)?.generation;
    if (generation === undefined || found.version === undefined) return undefined;
    return {
      generation,
      fence: { key: WRAP_KEYS_KEY, version: found.version },
      keyFor: (storageKey) => this.#dataKeys.get(generation, storageKey),
    };
  }

  /** How often this process has asked seals for a seal-wrap key. */
  get calls(): number {
    return this.#dataKeys.opened;
  }

  /** How far the rewrap was at this process's last look. */
  get seen(): Rewrap | undefined {
    return this.#work.seen;
  }

  async status(tx: Transaction): Promise<SealWrapStatus> {
    return { keys: await readWrapKeys(tx), rewrap: await readRewrap(tx) };
  }

  /** Why nothing is wrapped now; undefined when it is. */
  async whyNot(tx: Transaction): Promise<string | undefined> {
    const keys = await readWrapKeys(tx);
    if (keys?.wrapping) return undefined;
    if (this.#deps.seals.autos.length === 0)
      return "the store is unsealed by shares alone, and only a seal that opens by itself can be asked for each key";
    if (await this.#copies.mayWrap()) return "the seals have not got their copies of the seal-wrap key yet";
    return "shares of a shamir seal open the store too, and they could not open what another seal has wrapped";
  }

  /** Lets everything be brought to its form, as a part of a request. */
  start(tx: Transaction): Promise<void> {
    return queueRewrap(tx, EVERYTHING, this.#now());
  }

  /** The same for what lies below a prefix, for whoever changes what is wrapped there. */
  startBelow(tx: Transaction, prefix: string): Promise<void> {
    return queueRewrap(tx, prefix, this.#now());
  }

  /** A new generation of the seal-wrap key; the rewrap that lets the old ones go is under way. Throws as WrapCopies does. */
  rotate(): Promise<number> {
    return this.#copies.rotate((tx) => this.start(tx));
  }

  /**
   * The copies of the seal-wrap keys follow a change of seals: of `renewed` they are made anew, those of retired seals are
   * forgotten. Throws `unavailable` when a key would be left that none of the seals `kept` has.
   */
  async follow(renewed: ReadonlySet<string>, kept: readonly string[]): Promise<void> {
    const queue = (tx: Transaction) => this.start(tx);
    await this.#copies.mend(queue, renewed);
    // What is retired is forgotten once nothing is missing.
    await this.#copies.mend(queue);
    const generations = (await this.#copies.stored())?.generations ?? [];
    const lost = generations.find(({ copies }) => !copies.some(({ seal }) => kept.includes(seal)));
    if (lost === undefined) return;
    const names = lost.copies.map(({ seal }) => seal).join(", ");
    const message = `values are still wrapped by ${names} alone; keep that until sys/sealwrap/rewrap has nothing left to do`;
    throw new CofferError("unavailable", message);
  }

  /** Runs until the signal aborts; pauses while the server is sealed. */
  async run(signal: AbortSignal): Promise<void> {
    const { barrier, clock, log } = this.#deps;
    while (!signal.aborted) {
      const began = clock.now();
      let busy = false;
      try {
        if (!barrier.isSealed) busy = await this.round();
      } catch (error) {
        if (!barrier.isSealed) log.warn("the rewrap failed; it will be tried again", { error: messageOf(error) });
      }
      // While there is more, half of the time is the requests'.
      const pause = busy ? Math.min(clock.now() - began + 1, PAUSE_MILLIS_MAX) : IDLE_MILLIS;
      if (!signal.aborted) await clock.sleep(pause, signal);
    }
  }

  /** One round of the background. True when more is waiting. */
  async round(): Promise<boolean> {
    this.#dataKeys.evict();
    const now = this.#deps.clock.now();
    if (now >= this.#nextLook) {
      this.#nextLook = now + LOOK_MILLIS;
      await this.#makeReady();
      await this.#look();
    }
    for (let slice = 0; slice < SLICES_MAX; slice++) if ((await this.#work.slice()) !== "more") return false;
    return true;
  }

  async #look(): Promise<void> {
    const { barrier, log } = this.#deps;
    try {
      const isFirst = (await this.#copies.stored()) === undefined && (await this.#copies.mayWrap());
      const backends = this.#deps.backends?.();
      if (isFirst && backends) await markOlderMounts(barrier, backends);
      await this.#copies.mend((tx) => this.start(tx));
    } catch (error) {
      if (!barrier.isSealed)
        log.warn("the seals' copies of the seal-wrap keys are not complete", { error: messageOf(error) });
    }
  }

  /** Asks for the server's own data key right after unsealing, while there is a seal that answers. */
  async #makeReady(): Promise<void> {
    if (this.#isReady) return;
    const { barrier, log } = this.#deps;
    try {
      const generation = currentGeneration(await this.#copies.stored())?.generation;
      if (generation === undefined) return;
      await this.#dataKeys.get(generation, WRAP_KEYS_KEY);
      this.#isReady = true;
    } catch (error) {
      if (!barrier.isSealed) log.warn("no seal opens the key of the server's own records", { error: messageOf(error) });
    }
  }

  #now(): string {
    return new Date(this.#deps.clock.now()).toISOString();
  }
}

const STORE_ID_BYTES = 16;

/** Derived from the root key (HKDF), which it does not tell; a rekey changes it, and costs one more call of a seal. */
function storeId(barrier: Barrier): string {
  using rootKey = barrier.cloneRootKey();
  return Buffer.from(hkdfSync("sha256", rootKey.toKeyObject(), "", "coffer store id", STORE_ID_BYTES)).toString("hex");
}
