// The seals' copies of the seal-wrap keys on a server that is unsealed: makes the first key once there is a seal for it,
// gives each seal its copies, forgets those of disabled seals, opens a key by whichever seal answers. Each change is one
// commit that has the record in its read set, so that several nodes can do this at the same time.
//
// Nothing may be wrapped that a seal of the set cannot open: where shares of an emergency set open the root key and have
// no copy of these keys, wrapping is off, and what was wrapped is unwrapped again (rewrap.ts).
import { type Clock, within } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { SealSet } from "../core/seal-set.ts";
import { readSeal } from "../core/seal-store.ts";
import { type AutoSeal, SealError } from "../seal/seal.ts";
import type { Storage } from "../storage/storage.ts";
import {
  readWrapKeys,
  type WrapCopy,
  type WrapGeneration,
  type WrapKeys,
  wrapPurpose,
  writeWrapKeys,
} from "./wrap-keys.ts";

const KEY_BYTES = 32;
/** One seal's call may take this long; a request waits for it. */
export const CALL_MILLIS_MAX = 5_000;
/** A commit loses only against other nodes that do the same. */
const ATTEMPTS_MAX = 5;

export interface WrapCopiesDependencies {
  readonly storage: Storage;
  readonly barrier: Barrier;
  readonly seals: SealSet;
  readonly clock: Clock;
  readonly log: Log;
}

/** Queues the rewrap in the very commit that makes it necessary. */
export type QueueRewrap = (tx: Transaction) => Promise<void>;

export class WrapCopies {
  readonly #deps: WrapCopiesDependencies;
  constructor(dependencies: WrapCopiesDependencies) {
    this.#deps = dependencies;
  }

  /** Undefined: none were ever made. */
  stored(): Promise<WrapKeys | undefined> {
    return readWrapKeys(this.#deps.barrier.begin());
  }

  /** A generation's key, which the caller disposes. Throws `unavailable` with what each seal said. */
  async open(generation: number): Promise<SecretBytes> {
    const found = (await this.stored())?.generations.find((candidate) => candidate.generation === generation);
    if (!found) throw unavailable(`its key of generation ${generation} is over`);
    return this.#open(found);
  }

  async #open({ generation, copies }: WrapGeneration): Promise<SecretBytes> {
    const faults: string[] = [];
    for (const seal of this.#deps.seals.openers) {
      const copy = copies.find((candidate) => candidate.seal === seal.name);
      if (!copy) continue;
      try {
        return await this.#call(seal, (signal) => seal.unwrap(copy, wrapPurpose(generation), signal));
      } catch (error) {
        faults.push(`seal ${seal.name}: ${messageOf(error)}`);
      }
    }
    const names = copies.map(({ seal }) => seal).join(", ");
    throw unavailable(faults.join("; ") || `it was wrapped by ${names}, which the configuration does not have`);
  }

  /**
   * One look; makes what is missing, and anew what seals of these names have: their key is another one by now. Throws
   * SealError, `unavailable`, `conflict`, `sealed`.
   */
  async mend(queue: QueueRewrap, renewed: ReadonlySet<string> = new Set()): Promise<void> {
    const { barrier, seals, log } = this.#deps;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const tx = barrier.begin();
      const before = await readWrapKeys(tx);
      const wrapping = await this.mayWrap();
      if (!before && !wrapping) return;
      const generations = before ? await this.#complete(before.generations, renewed) : [await this.#make(1)];
      if (before?.wrapping === wrapping && generations === before.generations) return;
      writeWrapKeys(tx, { wrapping, generations });
      if (before?.wrapping !== wrapping) await queue(tx);
      if ((await tx.commit()) === "conflict") continue;
      if (before?.wrapping === wrapping) return;
      log.info(wrapping ? "critical values are wrapped by the seals" : "nothing is wrapped by a seal any more", {
        seals: seals.autos.map(({ name }) => name).join(", "),
      });
      return;
    }
    throw tooContended();
  }

  /** A new generation, which wraps from now on. Throws `invalid_request` when nothing is wrapped, and as mend does. */
  async rotate(queue: QueueRewrap): Promise<number> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const tx = this.#deps.barrier.begin();
      const before = await readWrapKeys(tx);
      const last = before?.generations.at(-1);
      if (!before?.wrapping || !last)
        throw new CofferError("invalid_request", "nothing is wrapped here: there is no seal that opens by itself");
      const next = await this.#make(last.generation + 1);
      writeWrapKeys(tx, { wrapping: true, generations: [...before.generations, next] });
      await queue(tx);
      if ((await tx.commit()) === "committed") return next.generation;
    }
    throw tooContended();
  }

  /** Whether there is a seal to wrap by, and no other that could not open it. */
  async mayWrap(): Promise<boolean> {
    const { storage, seals } = this.#deps;
    if (seals.autos.length === 0) return false;
    // A stanza of shares beside the others is an emergency set, or will be one.
    if (seals.activeShamir) return false;
    const keys = (await readSeal(storage))?.keys;
    if (!keys || keys.emergency) return false;
    return !seals.all.some(({ kind, name }) => kind === "shamir" && keys.root.some(({ seal }) => seal === name));
  }

  /** The same list when nothing is missing. */
  async #complete(
    generations: readonly WrapGeneration[],
    renewed: ReadonlySet<string>,
  ): Promise<readonly WrapGeneration[]> {
    const completed = await Promise.all(generations.map((one) => this.#completeOne(one, renewed)));
    return completed.every((one, i) => one === generations[i]) ? generations : completed;
  }

  async #completeOne(one: WrapGeneration, renewed: ReadonlySet<string>): Promise<WrapGeneration> {
    const { seals } = this.#deps;
    const has = ({ name }: AutoSeal) => one.copies.some(({ seal }) => seal === name);
    const missing = seals.autos.filter((seal) => !has(seal) || renewed.has(seal.name));
    if (missing.length > 0) {
      using key = await this.#open(one);
      const made = await this.#wrapByMost(missing, key, one.generation);
      const kept = one.copies.filter((copy) => !made.some(({ seal }) => seal === copy.seal));
      return made.length === 0 ? one : { ...one, copies: [...kept, ...made] };
    }
    // What a disabled seal holds has done its work once every other one has it.
    const isRetired = ({ seal }: WrapCopy) => seals.retiredAutos.some(({ name }) => name === seal);
    if (seals.autos.length === 0 || !one.copies.some(isRetired)) return one;
    return { ...one, copies: one.copies.filter((copy) => !isRetired(copy)) };
  }

  async #make(generation: number): Promise<WrapGeneration> {
    using key = SecretBytes.random(KEY_BYTES);
    const copies = await this.#wrapByMost(this.#deps.seals.autos, key, generation);
    if (copies.length === 0) throw unavailable("no seal answers");
    return { generation, createdTime: this.#now(), copies };
  }

  /** Copies by those that answer; each is opened again before anybody relies on it. */
  async #wrapByMost(seals: readonly AutoSeal[], key: SecretBytes, generation: number): Promise<readonly WrapCopy[]> {
    const made = await Promise.allSettled(
      seals.map((seal) => this.#call(seal, (signal) => this.#wrapBy(seal, key, generation, signal))),
    );
    return made.flatMap((one, i) => {
      if (one.status === "fulfilled") return [one.value];
      const facts = { seal: seals[i]?.name, reason: messageOf(one.reason) };
      this.#deps.log.warn("a seal has no copy of the seal-wrap key yet; the next look tries again", facts);
      return [];
    });
  }

  async #wrapBy(seal: AutoSeal, key: SecretBytes, generation: number, signal: AbortSignal): Promise<WrapCopy> {
    const purpose = wrapPurpose(generation);
    const copy = await seal.wrap(key, purpose, signal);
    using opened = await seal.unwrap(copy, purpose, signal);
    if (opened.equals(key)) return { ...copy, wrappedTime: this.#now() };
    throw new SealError("Failed", `seal ${seal.name} does not open what it has just wrapped`, { transient: false });
  }

  async #call<T>(seal: AutoSeal, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController();
    const result = await within(this.#deps.clock, CALL_MILLIS_MAX, call(late.signal));
    if (result !== "late") return result;
    late.abort("late");
    throw new SealError("Unreachable", `seal ${seal.name} has not answered in time`, { transient: true });
  }

  #now(): string {
    return new Date(this.#deps.clock.now()).toISOString();
  }
}

function unavailable(why: string): CofferError {
  return new CofferError(
    "unavailable",
    `this is wrapped by the seal, and no seal opens it now: ${why}; try again later`,
  );
}

function tooContended(): CofferError {
  return new CofferError("conflict", "other servers keep changing the seal-wrap keys; try again");
}
