// How a key is wrapped inside a token, by what the token offers, and what the wrapped key looks like:
//
//   version (1) = 1 | scheme (1) | body
//   cloudhsm-gcm, aes-gcm   body = IV (12) | ciphertext | tag (16)       bound to cluster and purpose by the AAD
//   aes-cbc-hmac            body = IV (16) | ciphertext | MAC (32)       HMAC-SHA256 over AAD length (4) | AAD | IV | ciphertext
//   aes-key-wrap            body = RFC 5649 of SHA-256(AAD) | key        the hash binds it
//
// Mechanisms: PKCS #11 2.40; the vendor's: AWS CloudHSM Client SDK 5, PKCS #11 mechanisms.
import { SealError } from "../seal.ts";

export const CKM = {
  SHA256_HMAC: 0x251,
  GENERIC_SECRET_KEY_GEN: 0x350,
  AES_KEY_GEN: 0x1080,
  AES_CBC_PAD: 0x1085,
  AES_GCM: 0x1087,
  AES_KEY_WRAP_PAD: 0x210a,
  CLOUDHSM_AES_GCM: 0x8000_1087,
} as const;

interface Scheme {
  readonly number: number;
  /** Mechanisms that the token must have. */
  readonly needs: readonly number[];
}

/** In order of preference: an HSM that makes the IV itself cannot be made to repeat one. */
const SCHEMES = {
  "cloudhsm-gcm": { number: 3, needs: [CKM.CLOUDHSM_AES_GCM] },
  "aes-gcm": { number: 1, needs: [CKM.AES_GCM] },
  "aes-cbc-hmac": { number: 4, needs: [CKM.AES_CBC_PAD, CKM.SHA256_HMAC] },
  "aes-key-wrap": { number: 5, needs: [CKM.AES_KEY_WRAP_PAD] },
} as const satisfies Readonly<Record<string, Scheme>>;

export type SchemeName = keyof typeof SCHEMES;

export const SCHEME_NAMES: readonly SchemeName[] = ["cloudhsm-gcm", "aes-gcm", "aes-cbc-hmac", "aes-key-wrap"];

export function isSchemeName(text: string): text is SchemeName {
  return SCHEME_NAMES.some((name) => name === text);
}

/** The scheme to wrap with: the wanted one, or the best that a token with these mechanisms offers. Throws SealError. */
export function chooseScheme(mechanisms: readonly number[], wanted: SchemeName | undefined): SchemeName {
  const offered = SCHEME_NAMES.filter((name) => SCHEMES[name].needs.every((needed) => mechanisms.includes(needed)));
  const chosen = wanted === undefined ? offered[0] : offered.find((name) => name === wanted);
  if (chosen !== undefined) return chosen;
  const offers = offered.length === 0 ? "none of them" : `only ${offered.join(", ")}`;
  throw new SealError(
    "Misconfigured",
    `the token offers ${offers}; mechanism is ${wanted ?? `one of ${SCHEME_NAMES.join(", ")}`}`,
    { transient: false },
  );
}

const VERSION = 1;
const HEAD_BYTES = 2;
/** An HSM takes 16 KiB at most (CloudHSM, AES-GCM); a wrapped key is far smaller. */
export const BLOB_BYTES_MAX = 4096;

export function encodeBlob(scheme: SchemeName, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([VERSION, SCHEMES[scheme].number]), body]);
}

/** Throws SealError "InvalidCiphertext" for what no seal of this kind made. */
export function decodeBlob(blob: Buffer): { readonly scheme: SchemeName; readonly body: Buffer } {
  const scheme = SCHEME_NAMES.find((name) => SCHEMES[name].number === blob[1]);
  if (blob[0] === VERSION && scheme !== undefined && blob.length > HEAD_BYTES && blob.length <= BLOB_BYTES_MAX)
    return { scheme, body: blob.subarray(HEAD_BYTES) };
  throw new SealError("InvalidCiphertext", "the wrapped key has a form that this version does not know", {
    transient: false,
  });
}

/** What every ciphertext is bound to. */
export function bindingOf(clusterName: string, purpose: string): Buffer {
  return Buffer.from(`coffer/${clusterName}/${purpose}`);
}
