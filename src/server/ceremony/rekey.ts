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
import { readRecipients, sealShares } from "./pgp.ts";
import { deleteShareBackup, readShareBackup, type ShareBackup, writeShareBackup } from "./share-backup.ts";

export interface RekeyDependencies {
  readonly barrier: Barrier;
  readonly custody: KeyCustody;
  readonly clock: Clock;
}

export interface RekeyStatus {
  readonly attempt: Attempt | undefined;
  readonly required: number;
}

export interface RekeyOptions {
  /** The new key takes effect once enough of its shares were given back. */
  readonly verify: boolean;
  /** The caller has a token that may do this, and needs no shares where there are none yet. */
  readonly trusted: boolean;
  /** PGP public keys, one for each new share; none: the shares leave as they are. */
  readonly pgpKeys: readonly string[];
  /** The encrypted shares are kept, until somebody deletes them. */
  readonly backup: boolean;
}

/** How new shares leave. */
type Handout = Pick<Attempt, "nonce" | "recipients" | "backup">;

/** What a step came to: more shares are wanted, or there are new ones. */
export type RekeyOutcome =
  | { readonly kind: "waiting"; readonly status: RekeyStatus }
  | {
      readonly kind: "done";
      readonly nonce: string;
      /** Shares, encrypted when recipients were named. */
      readonly keys: readonly Buffer[];
      readonly fingerprints: readonly string[];
      readonly backup: boolean;
      /** Set when the keys take effect only after verification. */
      readonly verificationNonce: string | undefined;
    };

/** Changes of an attempt lose only against other people's steps, which are few. */
const ATTEMPTS_MAX = 20;

/** Which key gets new shares. */
export type RekeyNoun = "barrier" | "recovery" | "emergency";

export class Rekey {
  readonly #deps: RekeyDependencies;
  readonly #name: CeremonyName;
  readonly #noun: RekeyNoun;
  constructor(dependencies: RekeyDependencies, noun: RekeyNoun) {
    this.#deps = dependencies;
    this.#noun = noun;
    this.#name = `rekey-${noun}`;
  }

  async status(): Promise<RekeyStatus> {
    const { barrier, custody, clock } = this.#deps;
    return { attempt: await readAttempt(barrier.begin(), this.#name, clock), required: await custody.required() };
  }

  /** Begins. Throws `invalid_request`. */
  async start(wanted: Split, options: RekeyOptions): Promise<RekeyOutcome> {
    const { custody, clock } = this.#deps;
    this.#assertPossible();
    const split = this.#isWithoutShares() ? this.#noShares(wanted, options) : wanted;
    assertSplit(split);
    if (options.backup && options.pgpKeys.length === 0)
      throw invalid("backup keeps encrypted shares only: give pgp_keys, one for each share, or leave backup out");
    const recipients = await readRecipients("pgp_keys", options.pgpKeys, { count: split.shares, now: clock.now() });
    const handout = { recipients, backup: options.backup ? "yes" : "no" };
    const required = await custody.required();
    if (required === 0) return this.#startWithoutShares(newAttempt(clock, { ...split, ...handout }), options);
    const attempt = await this.#transact(async (tx) => {
      if (await readAttempt(tx, this.#name, clock)) throw invalid("rekey already in progress");
      const begun = newAttempt(clock, { ...split, ...handout, verify: options.verify ? "yes" : "no" });
      writeAttempt(tx, this.#name, begun);
      return begun;
    });
    return { kind: "waiting", status: { attempt, required } };
  }

  #assertPossible(): void {
    if (this.#noun === "recovery" && !this.#deps.custody.isAutoSeal)
      throw invalid("recovery rekey not supported: this server is unsealed by shares; rekey those");
    if (this.#noun === "emergency") this.#deps.custody.assertEmergencyPossible();
  }

  /** An auto seal wraps the root key by itself: there is nothing to split. */
  #isWithoutShares(): boolean {
    return this.#noun === "barrier" && this.#deps.custody.isAutoSeal;
  }

  #noShares({ shares, threshold }: Split, { pgpKeys }: RekeyOptions): Split {
    if (pgpKeys.length > 0) throw invalid("this server unseals by itself: there are no shares for pgp_keys");
    if (shares > 1 || threshold > 1)
      throw invalid("this server unseals by itself, so secret_shares and secret_threshold must be 1");
    return { shares: 1, threshold: 1 };
  }

  async #startWithoutShares(attempt: Attempt, options: RekeyOptions): Promise<RekeyOutcome> {
    if (this.#noun === "barrier" || !options.trusted)
      throw invalid("there are no recovery keys that could authorise this; make them by sys/rotate/recovery/init");
    if (this.#noun === "emergency" && options.verify) return this.#startVerified(attempt);
    if (options.verify) throw invalid("the first recovery keys cannot be verified; leave out require_verification");
    return this.#replace({ ...attempt, nonce: "" });
  }

  async #startVerified(attempt: Attempt): Promise<RekeyOutcome> {
    const begun = await this.#transact(async (tx) => {
      if (await readAttempt(tx, this.#name, this.#deps.clock)) throw invalid("rekey already in progress");
      const verified = { ...attempt, verify: "yes" };
      writeAttempt(tx, this.#name, verified);
      return verified;
    });
    return this.#complete(begun);
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
    if (attempt.verify !== "yes" || this.#isWithoutShares()) {
      await this.#claim(attempt);
      return this.#replace(attempt);
    }
    using key = this.#newKey();
    const keys = await sealed(split(key, attempt), attempt);
    const pending = { nonce: randomUUID(), key: key.expose().toString("base64"), given: [] };
    await this.#transact(async (tx) => {
      await this.#requireSame(tx, attempt);
      writeAttempt(tx, this.#name, { ...attempt, given: [], pending });
      this.#keep(tx, attempt, keys);
    });
    return handedOut(attempt, keys, pending.nonce);
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

  /** A new key at once; gives its shares, none where an auto seal holds it. They are encrypted before it takes effect. */
  async #replace(attempt: Attempt): Promise<RekeyOutcome> {
    using key = this.#newKey();
    const shares = this.#isWithoutShares() ? [] : split(key, attempt);
    const keys = await sealed(shares, attempt);
    await this.#transact(async (tx) => this.#keep(tx, attempt, keys));
    await this.#install(key, attempt);
    return handedOut(attempt, keys, undefined);
  }

  /** Keeps the encrypted shares if that was wished for. */
  #keep(tx: Transaction, { nonce, recipients = [], backup }: Handout, keys: readonly Buffer[]): void {
    if (backup !== "yes") return;
    const shares = keys.map((key, i) => ({
      fingerprint: recipients[i]?.fingerprint ?? "",
      share: key.toString("base64"),
    }));
    writeShareBackup(tx, this.#noun, { nonce, shares });
  }

  /** The encrypted shares that were kept, or undefined. */
  readBackup(tx: Transaction): Promise<ShareBackup | undefined> {
    return readShareBackup(tx, this.#noun);
  }

  deleteBackup(tx: Transaction): void {
    deleteShareBackup(tx, this.#noun);
  }

  #newKey(): SecretBytes {
    const { custody } = this.#deps;
    return this.#noun === "emergency" ? custody.newEmergencyKey() : custody.newKey();
  }

  #install(key: SecretBytes, { shares, threshold }: Split): Promise<void> {
    const { custody } = this.#deps;
    if (this.#noun === "barrier") return custody.replaceRootKey(key, { shares, threshold });
    if (this.#noun === "emergency") return custody.replaceEmergencyKey(key, { shares, threshold });
    return custody.replaceRecoveryKey(key, { shares, threshold });
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

function sealed(shares: readonly SecretBytes[], { recipients = [], startedAtSeconds }: Attempt) {
  return sealShares(shares, recipients, startedAtSeconds * 1000);
}

function handedOut(
  { nonce, recipients = [], backup }: Handout,
  keys: readonly Buffer[],
  verificationNonce: string | undefined,
): RekeyOutcome {
  const fingerprints = recipients.map(({ fingerprint }) => fingerprint);
  return { kind: "done", nonce, keys, fingerprints, backup: backup === "yes", verificationNonce };
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
