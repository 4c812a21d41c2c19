// The seal seam: something outside the store that wraps the root key. Seals only ever see the root key, the recovery
// key and seal-wrapped data keys: a few dozen bytes, never user data.
import type { JsonObject } from "#common/json.ts";
import type { SecretBytes } from "#common/secret-bytes.ts";

/** A key wrapped by one seal, as it is stored. */
export interface WrappedKey {
  /** Name of the seal that made it. */
  readonly seal: string;
  /** Which key of the seal; changes when the key is rotated. */
  readonly keyId: string;
  /** Base64. */
  readonly ciphertext: string;
}

/** Why a seal cannot be used now; each is a distinct state in `sys/seal-status`, metrics and `UnsealConfig.status`. */
export type SealFault =
  | "KeyDisabled"
  | "KeyPendingDeletion"
  | "KeyNotFound"
  | "AccessDenied"
  | "CredentialsInvalid"
  | "Throttled"
  | "InvalidCiphertext"
  | "Unreachable"
  | "Misconfigured"
  | "Failed";

/** What a seal throws. Its message is a sentence for an administrator and holds no key material. */
export class SealError extends Error {
  readonly fault: SealFault;
  /** True when waiting may help (throttling, an outage); false when somebody must change something. */
  readonly transient: boolean;
  constructor(fault: SealFault, message: string, options: { transient: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = "SealError";
    this.fault = fault;
    this.transient = options.transient;
  }
}

/** A seal that opens by itself. */
export interface AutoSeal {
  readonly kind: "auto";
  readonly name: string;
  readonly type: string;
  /** `purpose` is bound to the ciphertext where the seal can do that (KMS encryption context). */
  wrap(key: SecretBytes, purpose: string, signal?: AbortSignal): Promise<WrappedKey>;
  unwrap(wrapped: WrappedKey, purpose: string, signal?: AbortSignal): Promise<SecretBytes>;
  /** Wraps and unwraps a nonce. Resolves when all is well, throws SealError when not. */
  probe(signal?: AbortSignal): Promise<{ keyId: string; latencyMillis: number }>;
  /** What is known of the machines behind the seal, for status: warnings, HSMs, backups. No secret. */
  machinery?(): JsonObject;
  close(): Promise<void>;
}

/** The seal that people open with shares of a key. */
export interface ShamirSeal {
  readonly kind: "shamir";
  readonly name: string;
  readonly type: "shamir";
  wrap(key: SecretBytes, purpose: string, kek: SecretBytes): WrappedKey;
  /** Throws SealError "InvalidCiphertext" when the key-encryption key is not the right one. */
  unwrap(wrapped: WrappedKey, purpose: string, kek: SecretBytes): SecretBytes;
}

export type Seal = AutoSeal | ShamirSeal;
