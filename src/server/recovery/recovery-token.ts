// The recovery token: made when enough people give shares of the unseal key (with an auto seal: of the recovery key), and
// kept in this process alone. It leaves as a root token does, combined with a one-time pad or encrypted to a PGP key.
// Nothing of it is stored: where this is needed, storage may be what is broken.
import { randomInt, randomUUID } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { constantTimeEqual, SecretBytes } from "#common/secret-bytes.ts";
import { ATTEMPT_SECONDS_MAX, assertNonce } from "../ceremony/attempt.ts";
import type { KeyCustody } from "../ceremony/key-custody.ts";
import { encryptTo, type Recipients, readRecipients } from "../ceremony/pgp.ts";
import { encodeToken } from "../ceremony/root-generation.ts";
import type { Node } from "../core/node.ts";

const CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX = "r.";
/** "r." and 24 characters of 62: 142 bits. */
export const RECOVERY_TOKEN_LENGTH = 26;

export interface RecoveryTokenDependencies {
  readonly node: Pick<Node, "state" | "isAutoSeal" | "submitShare" | "resetShares" | "refresh">;
  readonly custody: Pick<KeyCustody, "required" | "authorise">;
  readonly clock: Clock;
  readonly log: Log;
}

interface Attempt {
  readonly nonce: string;
  readonly startedAtMillis: number;
  readonly given: SecretBytes[];
  readonly pad: string;
  readonly recipient: Recipients[number] | undefined;
}

export interface RecoveryStatus {
  readonly nonce: string;
  readonly started: boolean;
  readonly progress: number;
  readonly required: number;
  readonly fingerprint: string;
  /** The token combined with the pad, base64 without padding, or encrypted to the recipient; set when just made. */
  readonly encodedToken?: string;
}

export class RecoveryToken {
  readonly #deps: RecoveryTokenDependencies;
  #attempt: Attempt | undefined;
  /** Hashing is not needed: it is compared in constant time and lives no longer than the process. */
  #token: SecretBytes | undefined;
  constructor(dependencies: RecoveryTokenDependencies) {
    this.#deps = dependencies;
  }

  /** Whether this is the token. Takes as long for every text of the right length. */
  accepts(text: string): boolean {
    return this.#token !== undefined && constantTimeEqual(Buffer.from(text), this.#token.expose());
  }

  async status(): Promise<RecoveryStatus> {
    return this.#shown(this.#running(), await this.#required());
  }

  /** Begins with the client's pad, one of ours (told this once), or a PGP key. Throws `invalid_request`. */
  async start(sentPad: string, pgpKey: string): Promise<RecoveryStatus & { readonly pad: string }> {
    const required = await this.#required();
    if (this.#running()) throw invalid("recovery token generation already in progress");
    if (required === 0)
      throw invalid("there are no recovery keys that could authorise this; an ordinary server makes them");
    if (sentPad !== "" && pgpKey !== "") throw invalid("give otp or pgp_key, not both");
    if (sentPad !== "" && Buffer.byteLength(sentPad) !== RECOVERY_TOKEN_LENGTH)
      throw invalid(`OTP string is wrong length; it must have ${RECOVERY_TOKEN_LENGTH} characters`);
    const now = this.#deps.clock.now();
    const [recipient] = await readRecipients("pgp_key", pgpKey === "" ? [] : [pgpKey], { count: 1, now });
    const pad = recipient ? "" : sentPad || randomText(RECOVERY_TOKEN_LENGTH);
    this.#attempt = { nonce: randomUUID(), startedAtMillis: now, given: [], pad, recipient };
    return { ...this.#shown(this.#attempt, required), pad: sentPad === "" ? pad : "" };
  }

  cancel(): void {
    this.#forgetShares();
    this.#attempt = undefined;
  }

  /** One share, which stays the caller's. Throws `invalid_request`; when the set was wrong it has to be given again. */
  async submit(share: SecretBytes, nonce: string): Promise<RecoveryStatus> {
    const attempt = this.#running();
    if (!attempt) throw invalid("no recovery token generation in progress");
    assertNonce(nonce, attempt.nonce, "recovery token generation operation");
    const required = await this.#required();
    if (!attempt.given.some((known) => known.equals(share))) attempt.given.push(share.clone());
    if (attempt.given.length < required) return this.#shown(attempt, required);
    if (!(await this.#areRight(attempt.given))) {
      this.#forgetShares();
      this.#deps.log.warn("shares for a recovery token were wrong");
      throw invalid("recovery token generation failed: the shares are not those of the present key; give them again");
    }
    return this.#finish(attempt, required);
  }

  async #finish(attempt: Attempt, required: number): Promise<RecoveryStatus> {
    const token = PREFIX + randomText(RECOVERY_TOKEN_LENGTH - PREFIX.length);
    const { recipient, pad, startedAtMillis } = attempt;
    const encodedToken = recipient
      ? (await encryptTo(recipient, token, startedAtMillis)).toString("base64")
      : encodeToken(token, pad);
    const done = { ...this.#shown(attempt, required), encodedToken };
    this.#token?.[Symbol.dispose]();
    this.#token = new SecretBytes(Buffer.from(token));
    this.cancel();
    this.#deps.log.warn("a recovery token was made");
    return done;
  }

  /** Shares of an unseal key open the node first: only then can they be held against the root key in use. */
  async #areRight(shares: readonly SecretBytes[]): Promise<boolean> {
    const { node, custody } = this.#deps;
    if (node.state === "sealed") {
      if (node.isAutoSeal) throw new CofferError("sealed", "the seal has not opened yet; sys/seal-status says why");
      if (!(await this.#unseal(shares))) return false;
    }
    return custody.authorise(shares);
  }

  async #unseal(shares: readonly SecretBytes[]): Promise<boolean> {
    const { node } = this.#deps;
    await node.resetShares();
    try {
      for (const share of shares) await node.submitShare(share.clone());
    } catch (error) {
      if (error instanceof CofferError && error.code === "invalid_request") return false;
      throw error;
    }
    return node.state === "unsealed";
  }

  async #required(): Promise<number> {
    await this.#deps.node.refresh();
    return this.#deps.custody.required();
  }

  /** The attempt that is going on; one that is older than a day has ended. */
  #running(): Attempt | undefined {
    const isOver = this.#attempt && this.#deps.clock.now() - this.#attempt.startedAtMillis > ATTEMPT_SECONDS_MAX * 1000;
    if (isOver) this.cancel();
    return this.#attempt;
  }

  #forgetShares(): void {
    for (const share of this.#attempt?.given.splice(0) ?? []) share[Symbol.dispose]();
  }

  #shown(attempt: Attempt | undefined, required: number): RecoveryStatus {
    return {
      nonce: attempt?.nonce ?? "",
      started: attempt !== undefined,
      progress: attempt?.given.length ?? 0,
      required,
      fingerprint: attempt?.recipient?.fingerprint ?? "",
    };
  }
}

function randomText(length: number): string {
  return Array.from({ length }, () => CHARACTERS[randomInt(CHARACTERS.length)]).join("");
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
