// The wrapped form of a key under a 32-byte key that this process holds (shamir, static): AES-256-GCM, one random nonce
// per wrapping. A key wraps a handful of keys in its life, far from the 2^32 random nonces of NIST SP 800-38D §8.3.
//   offset  size  meaning
//   0       1     version, 1
//   1       12    nonce
//   13      n     ciphertext
//   13+n    16    tag
// The additional data is the version byte followed by the purpose in UTF-8. Worked example: key-blob.test.ts.
import assert from "node:assert";
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import { SecretBytes } from "#common/secret-bytes.ts";

export const WRAPPING_KEY_BYTES = 32;
const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = 1 + NONCE_BYTES;
/** Root, recovery and data keys are 32 bytes, a keyring some hundred; more means that somebody wraps user data. */
export const WRAPPED_KEY_BYTES_MAX = 4096;

/** Encrypts a key. */
export function encryptKey(key: SecretBytes, purpose: string, under: SecretBytes): Buffer {
  return encryptWithNonce(key, purpose, under, randomBytes(NONCE_BYTES));
}

/** For the worked example only: with a chosen nonce. A nonce that is used twice under a key breaks the cipher. */
export function encryptWithNonce(key: SecretBytes, purpose: string, under: SecretBytes, nonce: Uint8Array): Buffer {
  assert(under.length === WRAPPING_KEY_BYTES, "a wrapping key has 32 bytes");
  assert(nonce.length === NONCE_BYTES, "a nonce has 12 bytes");
  assert(key.length > 0 && key.length <= WRAPPED_KEY_BYTES_MAX, "a key to wrap has 1 to 4096 bytes");
  const cipher = createCipheriv("aes-256-gcm", under.toKeyObject(), nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(additionalData(purpose));
  const ciphertext = cipher.update(key.expose());
  cipher.final();
  return Buffer.concat([Buffer.of(VERSION), nonce, ciphertext, cipher.getAuthTag()]);
}

/** Decrypts a blob, or gives undefined when it is damaged, of another purpose or under another key. */
export function decryptKey(blob: Uint8Array, purpose: string, under: SecretBytes): SecretBytes | undefined {
  if (under.length !== WRAPPING_KEY_BYTES || blob[0] !== VERSION) return undefined;
  if (blob.length <= HEAD_BYTES + TAG_BYTES || blob.length > HEAD_BYTES + WRAPPED_KEY_BYTES_MAX + TAG_BYTES)
    return undefined;
  const nonce = blob.subarray(1, HEAD_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", under.toKeyObject(), nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(additionalData(purpose));
  decipher.setAuthTag(blob.subarray(blob.length - TAG_BYTES));
  const key = new SecretBytes(decipher.update(blob.subarray(HEAD_BYTES, blob.length - TAG_BYTES)));
  try {
    decipher.final();
    return key;
  } catch {
    key[Symbol.dispose]();
    return undefined;
  }
}

/** Tells wrapping keys apart without telling anything about them: 64 bits of an HMAC under the key. */
export function fingerprint(key: SecretBytes): string {
  return createHmac("sha256", key.toKeyObject()).update("coffer wrapping key id").digest("hex").slice(0, 16);
}

function additionalData(purpose: string): Buffer {
  return Buffer.concat([Buffer.of(VERSION), Buffer.from(purpose, "utf8")]);
}
