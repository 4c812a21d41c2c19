// What return values of PKCS #11 mean to an administrator: which fault, a sentence with the next step, and whether waiting
// may help. Return values: PKCS #11 2.40, section 11.1.
import { SealError, type SealFault } from "../seal.ts";

interface Meaning {
  readonly fault: SealFault;
  readonly transient: boolean;
  readonly text: string;
}

const MEANINGS: ReadonlyMap<number, Meaning> = new Map([
  [0x03, stays("Misconfigured", "there is no such slot: set slot, or token_label, to one that the library knows")],
  [0x30, passes("Unreachable", "the HSM reports an error of its own; look at its log")],
  [0x31, passes("Unreachable", "the HSM has no memory left")],
  [0x32, passes("Unreachable", "the HSM is not there; look at the client's configuration and the network")],
  [
    0x40,
    stays("InvalidCiphertext", "the HSM refused the wrapped key: it is damaged, or of another key, cluster or purpose"),
  ],
  [0x41, stays("InvalidCiphertext", "the HSM refused the wrapped key for its length")],
  [0x62, stays("Misconfigured", "the key has a size that the mechanism does not take; it must be AES-256")],
  [0x63, stays("Misconfigured", "the key is of another type than the mechanism wants; it must be AES-256")],
  [
    0x68,
    stays("AccessDenied", "the key may not do this: it needs CKA_ENCRYPT and CKA_DECRYPT (or CKA_WRAP, CKA_UNWRAP)"),
  ],
  [0x70, stays("Misconfigured", "the token does not have the mechanism")],
  [0xa0, stays("CredentialsInvalid", "the PIN is wrong; it is not tried again before it changes, because tokens lock")],
  [
    0xa1,
    stays("CredentialsInvalid", "the PIN has a form that the token never takes; for CloudHSM it is user:password"),
  ],
  [
    0xa2,
    stays("CredentialsInvalid", "the PIN has a length that the token never takes; for CloudHSM it is user:password"),
  ],
  [0xa3, stays("CredentialsInvalid", "the PIN has expired; set a new one with the HSM's tools")],
  [
    0xa4,
    stays("CredentialsInvalid", "the PIN is locked after too many wrong ones; a crypto officer has to unlock the user"),
  ],
  [0xb1, passes("Throttled", "the HSM has no session left: other clients hold them all")],
  [0xb3, passes("Unreachable", "the session with the HSM is over")],
  [0xe0, passes("Unreachable", "there is no token in the slot")],
  [0xe1, stays("Misconfigured", "the token is not one that the library knows")],
  [0x101, passes("Unreachable", "the HSM has logged the user out")],
  [0x102, stays("Misconfigured", "the token has no user PIN yet: create the user with the HSM's tools")],
  [0x104, stays("Misconfigured", "somebody else is logged in to the token through this library")],
]);

function stays(fault: SealFault, text: string): Meaning {
  return { fault, text, transient: false };
}

function passes(fault: SealFault, text: string): Meaning {
  return { fault, text, transient: true };
}

/** After these the library is opened and the user logged in again, once: an HSM that was away forgets its sessions. */
const LOST = new Set([0x30, 0x32, 0xb0, 0xb3, 0xe0, 0x101, 0x190]);

interface NativeFailure {
  readonly message: string;
  readonly code: number;
  readonly method: string;
}

function failureOf(error: unknown): NativeFailure | undefined {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "number") return undefined;
  const method = "method" in error && typeof error.method === "string" ? error.method : "";
  return { message: error.message, code: error.code, method };
}

/** Whether the connection to the HSM is over, so that a new one may help. */
export function isLost(error: unknown): boolean {
  return LOST.has(failureOf(error)?.code ?? -1);
}

/** The return value of a failed call; undefined for other errors. */
export function returnValueOf(error: unknown): number | undefined {
  return failureOf(error)?.code;
}

/** What went wrong, as a SealError. `doing`: "wrap". */
export function explain(error: unknown, doing: string): SealError {
  if (error instanceof SealError) return error;
  const failure = failureOf(error);
  const meaning = failure && MEANINGS.get(failure.code);
  const detail = failure ? `${failure.method} ${failure.message}`.trim() : String(error);
  if (meaning) return new SealError(meaning.fault, `${meaning.text} (${detail})`, { transient: meaning.transient });
  return new SealError("Failed", `the HSM could not ${doing}: ${detail}`, { transient: true, cause: error });
}
