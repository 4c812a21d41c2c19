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
// Additional data: the storage key in UTF-8, so that a value moved to another key does not open.
//
// Version 2 holds a value that the seal has a layer on as well (wrapped-value.ts). It names the layer's key, so that
// one can tell what is wrapped by what without opening anything:
//
//   offset  size  meaning
//        0     1  version, 2
//        1     4  term, big-endian
//        5     4  generation of the seal-wrap key, big-endian, from 1
//        9    12  nonce, random
//       21     n  ciphertext of the wrapped value
//     21+n    16  tag
//
// Additional data: the first 9 bytes, then the storage key. Readers take every version that was ever written; worked
// examples are in envelope.test.ts. NIST SP 800-38D.
import assert from "node:assert";
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from "node:crypto";

const ALGORITHM = "aes-256-gcm";
const VERSION = 1;
const WRAPPED_VERSION = 2;
const TERM_AT = 1;
const GENERATION_AT = 5;
const NONCE_AT = 5;
const WRAPPED_NONCE_AT = 9;
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;
const GCM = { authTagLength: TAG_BYTES };

/** The term that stands for the root key: the keyring itself is encrypted under it. */
export const ROOT_TERM = 0;
/** The size of every key of the barrier: AES-256. */
export const KEY_BYTES = 32;
/** What an envelope adds to the plaintext. */
export const ENVELOPE_BYTES = NONCE_AT + NONCE_BYTES + TAG_BYTES;
const WRAPPED_BYTES = WRAPPED_NONCE_AT + NONCE_BYTES + TAG_BYTES;

/** What an envelope says of itself. `generation`: of the seal-wrap key, when the value in it is wrapped. */
export interface EnvelopeHead {
  readonly term: number;
  readonly generation: number | undefined;
}

/** Encrypts a value for a storage key. `nonce` is given only by the worked example; it must never be used twice. */
export function sealEnvelope(
  key: KeyObject,
  term: number,
  storageKey: string,
  plaintext: Uint8Array,
  nonce: Uint8Array = randomBytes(NONCE_BYTES),
): Uint8Array {
  const head = Buffer.alloc(NONCE_AT);
  head[0] = VERSION;
  head.writeUInt32BE(term, TERM_AT);
  return sealBytes(key, head, Buffer.from(storageKey, "utf8"), plaintext, nonce);
}

/** Encrypts a wrapped value for a storage key. */
export function sealWrappedEnvelope(
  key: KeyObject,
  { term, generation }: { readonly term: number; readonly generation: number },
  storageKey: string,
  wrapped: Uint8Array,
  nonce: Uint8Array = randomBytes(NONCE_BYTES),
): Uint8Array {
  const head = Buffer.alloc(WRAPPED_NONCE_AT);
  head[0] = WRAPPED_VERSION;
  head.writeUInt32BE(term, TERM_AT);
  head.writeUInt32BE(generation, GENERATION_AT);
  return sealBytes(key, head, Buffer.concat([head, Buffer.from(storageKey, "utf8")]), wrapped, nonce);
}

/** `head | nonce | ciphertext | tag`: AES-256-GCM, for every format of ours. */
export function sealBytes(
  key: KeyObject,
  head: Uint8Array,
  additional: Uint8Array,
  plaintext: Uint8Array,
  nonce: Uint8Array,
): Buffer {
  assert(nonce.length === NONCE_BYTES, "a nonce has 12 bytes");
  const ciphertextAt = head.length + NONCE_BYTES;
  const out = Buffer.allocUnsafe(ciphertextAt + plaintext.length + TAG_BYTES);
  out.set(head);
  out.set(nonce, head.length);
  const cipher = createCipheriv(ALGORITHM, key, nonce, GCM);
  cipher.setAAD(additional);
  out.set(cipher.update(plaintext), ciphertextAt);
  cipher.final(); // GCM has nothing left to give here; it completes the tag.
  out.set(cipher.getAuthTag(), ciphertextAt + plaintext.length);
  return out;
}

/** What sealBytes has sealed behind `headBytes`, or undefined when anything of it does not fit. */
export function openBytes(
  key: KeyObject,
  headBytes: number,
  additional: Uint8Array,
  sealed: Uint8Array,
): Buffer | undefined {
  const ciphertextAt = headBytes + NONCE_BYTES;
  if (sealed.length < ciphertextAt + TAG_BYTES) return undefined;
  const end = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv(ALGORITHM, key, sealed.subarray(headBytes, ciphertextAt), GCM);
  decipher.setAAD(additional);
  decipher.setAuthTag(sealed.subarray(end));
  const plaintext = decipher.update(sealed.subarray(ciphertextAt, end));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    return undefined;
  }
  return plaintext;
}

/** Undefined when the bytes are no envelope. */
export function envelopeHead(envelope: Uint8Array): EnvelopeHead | undefined {
  const isPlain = envelope.length >= ENVELOPE_BYTES && envelope[0] === VERSION;
  const isWrapped = envelope.length >= WRAPPED_BYTES && envelope[0] === WRAPPED_VERSION;
  if (!isPlain && !isWrapped) return undefined;
  const bytes = Buffer.from(envelope.buffer, envelope.byteOffset, envelope.length);
  return {
    term: bytes.readUInt32BE(TERM_AT),
    generation: isWrapped ? bytes.readUInt32BE(GENERATION_AT) : undefined,
  };
}

/** The term under which an envelope was made, or undefined when the bytes are no envelope. */
export function envelopeTerm(envelope: Uint8Array): number | undefined {
  return envelopeHead(envelope)?.term;
}

/**
 * Decrypts, or gives undefined when the bytes were changed, belong to another storage key or to another key. What comes
 * out of one whose head names a generation is a wrapped value.
 */
export function openEnvelope(key: KeyObject, storageKey: string, envelope: Uint8Array): Buffer | undefined {
  const head = envelopeHead(envelope);
  if (head === undefined) return undefined;
  const at = Buffer.from(storageKey, "utf8");
  if (head.generation === undefined) return openBytes(key, NONCE_AT, at, envelope);
  const additional = Buffer.concat([envelope.subarray(0, WRAPPED_NONCE_AT), at]);
  return openBytes(key, WRAPPED_NONCE_AT, additional, envelope);
}
