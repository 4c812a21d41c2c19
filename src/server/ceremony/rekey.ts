// New shares for old: enough people give theirs, the server makes a new key, splits it and hands out the shares; then
// or, if so wished, once enough of the new ones were given back, the new key takes the place of the old one.
//
// Each step commits by itself, because the change of keys cannot be part of a request's transaction: it would run
// again after a conflict, and the shares that were handed out first would open nothing.
import { randomUUID } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { combine } from "../seal/combine.ts";
import { assertSplit, type Split, split } from "../seal/split.ts";
import {
  type Attempt,
  assertNonce,
  type CeremonyName,
  deleteAttempt,
  newAttempt,
  readAttempt,
  withShare,
  withShares,
  writeAttempt,
} from "./attempt.ts";
import type { KeyCustody } from "./key-custody.ts";

export interface RekeyDependencies {
  readonly barrier: Barrier;
  readonly custody: KeyCustody;
  readonly clock: Clock;
}

export interface RekeyStatus {
  readonly attempt: Attempt | undefined;
  readonly required: number;
}

/** What a step came to: more shares are wanted, or there are new ones. */
export type RekeyOutcome =
  | { readonly kind: "waiting"; readonly status: RekeyStatus }
  | {
      readonly kind: "done";
      readonly nonce: string;
      readonly keys: readonly Buffer[];
      /** Set when the keys take effect only after verification. */
      readonly verificationNonce: string | undefined;
    };

/** Changes of an attempt lose only against other people's steps, which are few. */
const ATTEMPTS_MAX = 20;

export class Rekey {
  readonly #deps: RekeyDependencies;
  readonly #name: CeremonyName;
  readonly #noun: "barrier" | "recovery";
  constructor(dependencies: RekeyDependencies, noun: "barrier" | "recovery") {
    this.#deps = dependencies;
    this.#noun = noun;
    this.#name = noun === "barrier" ? "rekey-barrier" : "rekey-recovery";
  }

  async status(): Promise<RekeyStatus> {
    const { barrier, custody, clock } = this.#deps;
    return { attempt: await readAttempt(barrier.begin(), this.#name, clock), required: await custody.required() };
  }

  /**
   * Begins. `trusted`: the caller has a token that may do this, and needs no shares where there are none yet. Throws
   * `invalid_request`.
   */
  async start(wanted: Split, options: { verify: boolean; trusted: boolean }): Promise<RekeyOutcome> {
    const { custody } = this.#deps;
    this.#assertPossible();
    const split = this.#isWithoutShares() ? this.#noShares(wanted) : wanted;
    assertSplit(split);
    const required = await custody.required();
    if (required === 0) return this.#startWithoutShares(split, options);
    const attempt = await this.#transact(async (tx) => {
      if (await readAttempt(tx, this.#name, this.#deps.clock)) throw invalid("rekey already in progress");
      const begun = newAttempt(this.#deps.clock, { ...split, verify: options.verify ? "yes" : "no" });
      writeAttempt(tx, this.#name, begun);
      return begun;
    });
    return { kind: "waiting", status: { attempt, required } };
  }

  #assertPossible(): void {
    if (this.#noun === "recovery" && !this.#deps.custody.isAutoSeal)
      throw invalid("recovery rekey not supported: this server is unsealed by shares; rekey those");
  }

  /** An auto seal wraps the root key by itself: there is nothing to split. */
  #isWithoutShares(): boolean {
    return this.#noun === "barrier" && this.#deps.custody.isAutoSeal;
  }

  #noShares({ shares, threshold }: Split): Split {
    if (shares > 1 || threshold > 1)
      throw invalid("this server unseals by itself, so secret_shares and secret_threshold must be 1");
    return { shares: 1, threshold: 1 };
  }

  async #startWithoutShares(split: Split, options: { verify: boolean; trusted: boolean }): Promise<RekeyOutcome> {
    if (this.#noun === "barrier" || !options.trusted)
      throw invalid("there are no recovery keys that could authorise this; make them by sys/rotate/recovery/init");
    if (options.verify) throw invalid("the first recovery keys cannot be verified; leave out require_verification");
    return { kind: "done", nonce: "", keys: await this.#replace(split), verificationNonce: undefined };
  }

  async cancel(): Promise<void> {
    await this.#transact(async (tx) => deleteAttempt(tx, this.#name));
  }

  /** One share of the old key. Throws `invalid_request`; a wrong set is forgotten and has to be given anew. */
  async submit(share: SecretBytes, nonce: string): Promise<RekeyOutcome> {
    const required = await this.#deps.custody.required();
    const attempt = await this.#transact((tx) => this.#add(tx, share, nonce));
    if (attempt.given.length < required) return { kind: "waiting", status: { attempt, required } };
    if (!(await withShares(attempt.given, (shares) => this.#deps.custody.authorise(shares)))) {
      await this.#forgetShares(attempt);
      throw invalid("rekey failed: the shares are not those of the present key; give them again");
    }
    return this.#complete(attempt);
  }

  async #add(tx: Transaction, share: SecretBytes, nonce: string): Promise<Attempt> {
    const attempt = await this.#require(tx);
    assertNonce(nonce, attempt.nonce, "rekey operation");
    if (attempt.pending)
      throw invalid(
        `rekey operation already finished; the new keys must be verified with nonce ${JSON.stringify(attempt.pending.nonce)}`,
      );
    const after = { ...attempt, given: withShare(attempt.given, share) };
    writeAttempt(tx, this.#name, after);
    return after;
  }

  async #complete(attempt: Attempt): Promise<RekeyOutcome> {
    const { nonce } = attempt;
    if (attempt.verify !== "yes" || this.#isWithoutShares()) {
      await this.#claim(attempt);
      return { kind: "done", nonce, keys: await this.#replace(attempt), verificationNonce: undefined };
    }
    using key = this.#deps.custody.newKey();
    const pending = { nonce: randomUUID(), key: key.expose().toString("base64"), given: [] };
    await this.#transact(async (tx) => {
      await this.#requireSame(tx, attempt);
      writeAttempt(tx, this.#name, { ...attempt, given: [], pending });
    });
    return { kind: "done", nonce, keys: exposed(split(key, attempt)), verificationNonce: pending.nonce };
  }

  /** One share of the new key. True once the new key has taken effect. */
  async verify(share: SecretBytes, nonce: string): Promise<{ complete: boolean; attempt: Attempt }> {
    const attempt = await this.#transact(async (tx) => {
      const before = await this.#require(tx);
      if (!before.pending) throw invalid("no rekey verification in progress");
      assertNonce(nonce, before.pending.nonce, "verify operation");
      const pending = { ...before.pending, given: withShare(before.pending.given, share) };
      const after = { ...before, pending };
      writeAttempt(tx, this.#name, after);
      return after;
    });
    if (attempt.pending.given.length < attempt.threshold) return { complete: false, attempt };
    using key = new SecretBytes(Buffer.from(attempt.pending.key, "base64"));
    if (!(await withShares(attempt.pending.given, async (shares) => isKeyOf(shares, attempt, key)))) {
      await this.restartVerification();
      throw invalid("rekey verification failed: the shares are not those of the new key; give them again");
    }
    await this.#claim(attempt);
    await this.#install(key, attempt);
    return { complete: true, attempt };
  }

  /** Forgets what was given for verification, under a new nonce. */
  async restartVerification(): Promise<Attempt> {
    return this.#transact(async (tx) => {
      const attempt = await this.#require(tx);
      if (!attempt.pending) throw invalid("no rekey verification in progress");
      const after = { ...attempt, pending: { ...attempt.pending, nonce: randomUUID(), given: [] } };
      writeAttempt(tx, this.#name, after);
      return after;
    });
  }

  /** A new key at once; gives its shares, none where an auto seal holds it. */
  async #replace(wanted: Split): Promise<readonly Buffer[]> {
    using key = this.#deps.custody.newKey();
    const shares = this.#isWithoutShares() ? [] : split(key, wanted);
    await this.#install(key, wanted);
    return exposed(shares);
  }

  #install(key: SecretBytes, { shares, threshold }: Split): Promise<void> {
    const { custody } = this.#deps;
    return this.#noun === "barrier"
      ? custody.replaceRootKey(key, { shares, threshold })
      : custody.replaceRecoveryKey(key, { shares, threshold });
  }

  /** Ends the attempt; only who succeeds may change keys. */
  async #claim(attempt: Attempt): Promise<void> {
    await this.#transact(async (tx) => {
      await this.#requireSame(tx, attempt);
      deleteAttempt(tx, this.#name);
    });
  }

  async #forgetShares(attempt: Attempt): Promise<void> {
    await this.#transact(async (tx) => {
      await this.#requireSame(tx, attempt);
      writeAttempt(tx, this.#name, { ...attempt, given: [] });
    });
  }

  async #require(tx: Transaction): Promise<Attempt> {
    const attempt = await readAttempt(tx, this.#name, this.#deps.clock);
    if (!attempt) throw invalid(`no ${this.#noun} rekey in progress`);
    return attempt;
  }

  async #requireSame(tx: Transaction, { nonce, pending }: Attempt): Promise<void> {
    const current = await this.#require(tx);
    if (current.nonce !== nonce || current.pending?.nonce !== pending?.nonce)
      throw new CofferError("conflict", "somebody else has gone on with this rekey; look at its status");
  }

  async #transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const tx = this.#deps.barrier.begin();
      const result = await work(tx);
      if ((await tx.commit()) === "committed") return result;
    }
    throw new CofferError("conflict", "others keep changing this rekey; try again");
  }
}

function isKeyOf(shares: readonly SecretBytes[], { threshold }: Split, key: SecretBytes): boolean {
  try {
    using combined = combine(shares, threshold);
    return combined.equals(key);
  } catch (error) {
    if (error instanceof CofferError && error.code === "invalid_request") return false;
    throw error;
  }
}

function exposed(shares: readonly SecretBytes[]): readonly Buffer[] {
  return shares.map((share) => share.expose());
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
