// How one value is encrypted: AES-256-GCM, bound to its storage key. This file owns the bytes and nothing else; which
// key is used is the keyring's affair.
//
//   offset  size  meaning
//        0     1  version, 1
//        1     4  term: number of the key in the keyring, big-endian, from 1; 0 means the root key
//        5    12  nonce, random
//       17     n  ciphertext
//     17+n    16  tag
//
// Additional data: the storage key in UTF-8, so that a value moved to another key does not open. Readers take every
// version that was ever written; a worked example is in envelope.test.ts. NIST SP 800-38D.
import assert from "node:assert";
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from "node:crypto";

const ALGORITHM = "aes-256-gcm";
const VERSION = 1;
const NONCE_AT = 5;
const NONCE_BYTES = 12;
const CIPHERTEXT_AT = NONCE_AT + NONCE_BYTES;
const TAG_BYTES = 16;
const GCM = { authTagLength: TAG_BYTES };

/** The term that stands for the root key: the keyring itself is encrypted under it. */
export const ROOT_TERM = 0;
/** The size of every key of the barrier: AES-256. */
export const KEY_BYTES = 32;
/** What an envelope adds to the plaintext. */
export const ENVELOPE_BYTES = CIPHERTEXT_AT + TAG_BYTES;

/** Encrypts a value for a storage key. `nonce` is given only by the worked example; it must never be used twice. */
export function sealEnvelope(
  key: KeyObject,
  term: number,
  storageKey: string,
  plaintext: Uint8Array,
  nonce: Uint8Array = randomBytes(NONCE_BYTES),
): Uint8Array {
  assert(nonce.length === NONCE_BYTES, "a nonce has 12 bytes");
  const out = Buffer.allocUnsafeSlow(ENVELOPE_BYTES + plaintext.length);
  out[0] = VERSION;
  out.writeUInt32BE(term, 1);
  out.set(nonce, NONCE_AT);
  const cipher = createCipheriv(ALGORITHM, key, nonce, GCM);
  cipher.setAAD(Buffer.from(storageKey, "utf8"));
  out.set(cipher.update(plaintext), CIPHERTEXT_AT);
  cipher.final(); // GCM has nothing left to give here; it completes the tag.
  out.set(cipher.getAuthTag(), CIPHERTEXT_AT + plaintext.length);
  return out;
}

/** The term under which an envelope was made, or undefined when the bytes are no envelope. */
export function envelopeTerm(envelope: Uint8Array): number | undefined {
  if (envelope.length < ENVELOPE_BYTES || envelope[0] !== VERSION) return undefined;
  return Buffer.from(envelope.buffer, envelope.byteOffset, envelope.length).readUInt32BE(1);
}

/** Decrypts, or gives undefined when the bytes were changed, belong to another storage key or to another key. */
export function openEnvelope(key: KeyObject, storageKey: string, envelope: Uint8Array): Buffer | undefined {
  if (envelope.length < ENVELOPE_BYTES || envelope[0] !== VERSION) return undefined;
  const end = envelope.length - TAG_BYTES;
  const decipher = createDecipheriv(ALGORITHM, key, envelope.subarray(NONCE_AT, CIPHERTEXT_AT), GCM);
  decipher.setAAD(Buffer.from(storageKey, "utf8"));
  decipher.setAuthTag(envelope.subarray(end));
  const plaintext = decipher.update(envelope.subarray(CIPHERTEXT_AT, end));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    return undefined;
  }
  return plaintext;
}
