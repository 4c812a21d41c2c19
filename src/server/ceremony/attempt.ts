// Attempts at what needs several people: each gives a share, on whatever node, until there are enough. In storage behind
// the barrier, because the next request may reach another node; gone with the end of the attempt, or after a day.
//
//   core/ceremony/<name>   Attempt
//
// Whoever can read what is behind the barrier has its keys already, so the shares there tell them nothing new.
import { randomUUID } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { type Infer, list, number, object, optional, string } from "#common/schema.ts";
import { constantTimeEqual, SecretBytes } from "#common/secret-bytes.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import { recipientsSchema } from "./pgp.ts";

/** People in different places need hours; shares must not lie about for longer than a day. */
export const ATTEMPT_SECONDS_MAX = 24 * 3600;

const attemptSchema = object({
  nonce: string,
  startedAtSeconds: number,
  /** Shares given so far, base64. */
  given: list(string),
  /** Of new keys: how they are to be split. */
  shares: number,
  threshold: number,
  /** Of new keys: "yes" when they take effect only once enough of them were given back. */
  verify: string,
  /** The new key that waits for that, base64. */
  pending: optional(object({ nonce: string, key: string, given: list(string) })),
  /** To whom the new shares, or the root token, are encrypted on their way out; left out is to nobody. */
  recipients: optional(recipientsSchema),
  /** Of new keys: "yes" when their encrypted shares are kept too. */
  backup: optional(string),
  /** Of root tokens: what the token is combined with on its way out. */
  oneTimePad: optional(string),
});
export type Attempt = Infer<typeof attemptSchema>;
const attemptKind = recordKind("ceremony", attemptSchema);

export type CeremonyName = "rekey-barrier" | "rekey-recovery" | "rekey-emergency" | "generate-root";

function keyOf(name: CeremonyName): string {
  return `core/ceremony/${name}`;
}

/** The attempt that is going on, or undefined. */
export async function readAttempt(tx: Transaction, name: CeremonyName, clock: Clock): Promise<Attempt | undefined> {
  const attempt = await tx.read(attemptKind, keyOf(name));
  const isOver = attempt && clock.now() / 1000 - attempt.startedAtSeconds > ATTEMPT_SECONDS_MAX;
  return isOver ? undefined : attempt;
}

export function writeAttempt(tx: Transaction, name: CeremonyName, attempt: Attempt): void {
  tx.write(attemptKind, keyOf(name), attempt);
}

export function deleteAttempt(tx: Transaction, name: CeremonyName): void {
  tx.delete(keyOf(name));
}

/** An attempt that begins now. */
export function newAttempt(clock: Clock, members: Partial<Attempt>): Attempt {
  const startedAtSeconds = Math.floor(clock.now() / 1000);
  return { nonce: randomUUID(), startedAtSeconds, given: [], shares: 0, threshold: 0, verify: "no", ...members };
}

/** The shares with one more; each counts once. */
export function withShare(given: readonly string[], share: SecretBytes): readonly string[] {
  const text = share.expose().toString("base64");
  const isKnown = given.some((known) => constantTimeEqual(Buffer.from(known), Buffer.from(text)));
  return isKnown ? given : [...given, text];
}

/** Runs work with shares as bytes, which are zeroed afterwards. */
export async function withShares<T>(
  given: readonly string[],
  work: (shares: readonly SecretBytes[]) => Promise<T>,
): Promise<T> {
  const shares = given.map((text) => new SecretBytes(Buffer.from(text, "base64")));
  try {
    return await work(shares);
  } finally {
    for (const share of shares) share[Symbol.dispose]();
  }
}

/** Throws `invalid_request` when the nonce is of another attempt. `what`: "rekey operation". */
export function assertNonce(sent: string, nonce: string, what: string): void {
  if (sent !== nonce)
    throw new CofferError(
      "invalid_request",
      `incorrect nonce supplied; nonce for this ${what} is ${JSON.stringify(nonce)}`,
    );
}
