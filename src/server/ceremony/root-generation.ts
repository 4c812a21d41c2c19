// A new root token, made when enough people give their shares. The token leaves combined (XOR) with a one-time pad that
// only who began has, so that nobody who merely gives a share, and no log between, gets it. All of it is in the
// request's transaction.
import { randomInt } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { SecretBytes } from "#common/secret-bytes.ts";
import type { Transaction } from "../barrier/transaction.ts";
import {
  type Attempt,
  assertNonce,
  deleteAttempt,
  newAttempt,
  readAttempt,
  withShare,
  withShares,
  writeAttempt,
} from "./attempt.ts";
import type { KeyCustody } from "./key-custody.ts";
import { encryptTo, readRecipients } from "./pgp.ts";

const NAME = "generate-root";
/** A service token: "hvs." and 28 characters. */
export const PAD_LENGTH = 32;
/** Longer than any token that is made from shares. */
const TOKEN_TEXT_MAX = 1024;
const PAD_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

export interface RootGenerationDependencies {
  readonly custody: KeyCustody;
  readonly clock: Clock;
  /** Makes a root token and gives its text. */
  writeRootToken(tx: Transaction): Promise<string>;
}

export interface RootStatus {
  readonly attempt: Attempt | undefined;
  readonly required: number;
  /** The token combined with the pad, base64 without padding, or encrypted to the recipient; set when just made. */
  readonly encodedToken?: string;
  /** The shares were wrong and have been forgotten. */
  readonly failed?: true;
}

export class RootGeneration {
  readonly #deps: RootGenerationDependencies;
  constructor(dependencies: RootGenerationDependencies) {
    this.#deps = dependencies;
  }

  async status(tx: Transaction): Promise<RootStatus> {
    const { custody, clock } = this.#deps;
    return { attempt: await readAttempt(tx, NAME, clock), required: await custody.required() };
  }

  /**
   * Begins with the client's pad, with one of ours, which the answer shows this once, or with a PGP key instead of a pad.
   * Throws `invalid_request`.
   */
  async start(tx: Transaction, sentPad: string, pgpKey: string): Promise<RootStatus & { readonly pad: string }> {
    const { attempt: running, required } = await this.status(tx);
    if (running) throw invalid("root generation already in progress for this namespace");
    if (required === 0)
      throw invalid("there are no recovery keys that could authorise this; make them by sys/rotate/recovery/init");
    if (pgpKey !== "") return { ...(await this.#startFor(tx, sentPad, pgpKey)), required, pad: "" };
    if (sentPad !== "" && Buffer.byteLength(sentPad) !== PAD_LENGTH)
      throw invalid(`OTP string is wrong length; it must have ${PAD_LENGTH} characters`);
    const pad = sentPad || newPad();
    const attempt = newAttempt(this.#deps.clock, { oneTimePad: pad });
    writeAttempt(tx, NAME, attempt);
    return { attempt, required, pad: sentPad === "" ? pad : "" };
  }

  async #startFor(tx: Transaction, sentPad: string, pgpKey: string): Promise<{ attempt: Attempt }> {
    const { clock } = this.#deps;
    if (sentPad !== "") throw invalid("give otp or pgp_key, not both");
    const recipients = await readRecipients("pgp_key", [pgpKey], { count: 1, now: clock.now() });
    const attempt = newAttempt(clock, { recipients });
    writeAttempt(tx, NAME, attempt);
    return { attempt };
  }

  cancel(tx: Transaction): void {
    deleteAttempt(tx, NAME);
  }

  /** One share. Throws `invalid_request`. */
  async submit(tx: Transaction, share: SecretBytes, nonce: string): Promise<RootStatus> {
    const { attempt: before, required } = await this.status(tx);
    if (!before) throw invalid("no root generation in progress");
    assertNonce(nonce, before.nonce, "root generation operation");
    const attempt = { ...before, given: withShare(before.given, share) };
    if (attempt.given.length < required) {
      writeAttempt(tx, NAME, attempt);
      return { attempt, required };
    }
    if (!(await withShares(attempt.given, (shares) => this.#deps.custody.authorise(shares)))) {
      writeAttempt(tx, NAME, { ...attempt, given: [] });
      return { attempt: { ...attempt, given: [] }, required, failed: true };
    }
    deleteAttempt(tx, NAME);
    const token = await this.#deps.writeRootToken(tx);
    const [recipient] = attempt.recipients ?? [];
    const encodedToken = recipient
      ? (await encryptTo(recipient, token, attempt.startedAtSeconds * 1000)).toString("base64")
      : encodeToken(token, attempt.oneTimePad ?? "");
    return { attempt, required, encodedToken };
  }
}

/** Base64 without padding of the two combined. Both have the same length. */
export function encodeToken(token: string, pad: string): string {
  const [a, b] = [Buffer.from(token), Buffer.from(pad)];
  if (a.length !== b.length) throw new Error("a pad is as long as a token");
  return Buffer.from(a.map((byte, i) => byte ^ (b[i] ?? 0)))
    .toString("base64")
    .replace(/=+$/, "");
}

/** The token that was combined with the pad. Throws `invalid_request` naming what is wrong. */
export function decodeToken(encoded: string, pad: string): string {
  if (encoded === "") throw invalid("missing encoded_token");
  if (pad === "") throw invalid("missing otp");
  if (encoded.length > TOKEN_TEXT_MAX || pad.length > TOKEN_TEXT_MAX)
    throw invalid(`encoded_token and otp have at most ${TOKEN_TEXT_MAX} characters`);
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) throw invalid("encoded_token must be base64");
  const [bytes, padBytes] = [Buffer.from(encoded, "base64"), Buffer.from(pad)];
  if (bytes.length !== padBytes.length)
    throw invalid("encoded_token and otp are not of one attempt: their lengths differ");
  return Buffer.from(bytes.map((byte, i) => byte ^ (padBytes[i] ?? 0))).toString("utf8");
}

function newPad(): string {
  return Array.from({ length: PAD_LENGTH }, () => PAD_CHARACTERS[randomInt(PAD_CHARACTERS.length)]).join("");
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
