// The emergency set: shares of a private key that opens the root key when no other seal does. Wrapping needs the public
// key alone, so a server that runs can wrap a new root key without the people who hold the shares, and nothing that it
// has, or that is stored, opens anything. ECDH on P-256 with a key pair for each wrapping, HKDF-SHA-256 (RFC 5869),
// AES-256-GCM; all of them are approved in FIPS 140.
//   offset  size  meaning
//   0       1     version, 1
//   1       65    public key of the set, uncompressed (SEC 1, 2.3.3)
//   66      65    public key of this wrapping
//   131     12    nonce
//   143     n     ciphertext, n = 32
//   143+n   16    tag
//   159+n   32    proof that the public key is ours: HKDF-SHA-256 of the wrapped key, salt is the public key, info PROOF.
//                 Without it, who can write to the storage could have the next root key wrapped to a key of their own.
// The additional data is bytes 0 to 131 and the purpose in UTF-8; the AES key is HKDF-SHA-256 of the shared secret, salt
// is bytes 1 to 131, info ENCRYPT. The secret that is split is the private key, 32 bytes big-endian.
// Worked example: emergency.test.ts.
import assert from "node:assert";
import {
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHash,
  type ECDH,
  hkdfSync,
  randomBytes,
} from "node:crypto";
import { constantTimeEqual, SecretBytes } from "#common/secret-bytes.ts";
import { SealError, type WrappedKey } from "./seal.ts";

const CURVE = "prime256v1";
const VERSION = 1;
const POINT_BYTES = 65;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const HEAD_BYTES = 1 + 2 * POINT_BYTES;
const BLOB_BYTES = HEAD_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES + KEY_BYTES;
const ENCRYPT = "coffer emergency key v1";
const PROOF = "coffer emergency set v1";

/** The secret to split for a new set; the caller disposes it. */
export function newEmergencyKey(): SecretBytes {
  const pair = createECDH(CURVE);
  pair.generateKeys();
  return privateBytes(pair);
}

/** Wraps a key of 32 bytes for the holders of a set. */
export function wrapForEmergency(
  key: SecretBytes,
  purpose: string,
  set: { seal: string; secret: SecretBytes },
): WrappedKey {
  return wrapFor(key, purpose, { seal: set.seal, publicKey: publicKeyOf(set.secret) });
}

/** The same set's copy of another key. Throws SealError when the copy was not made by a holder of the `old` key. */
export function wrapAgain(copy: WrappedKey, old: SecretBytes, key: SecretBytes, purpose: string): WrappedKey {
  const { publicKey, proof } = parse(copy);
  using expected = proofOf(old, publicKey);
  if (!constantTimeEqual(expected.expose(), proof)) throw damaged("it is not of this store");
  return wrapFor(key, purpose, { seal: copy.seal, publicKey });
}

/** Opens a copy with the secret of the set. Throws SealError "InvalidCiphertext" when it is another set's, or damaged. */
export function openEmergency(copy: WrappedKey, purpose: string, secret: SecretBytes): SecretBytes {
  const { blob, publicKey, ephemeral, nonce, ciphertext, tag } = parse(copy);
  if (!isScalar(secret) || !publicKeyOf(secret).equals(publicKey))
    throw damaged("the key shares are not those of the emergency set; start again with them");
  using key = agree(secret, ephemeral, blob);
  const decipher = createDecipheriv("aes-256-gcm", key.toKeyObject(), nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(additionalData(blob, purpose));
  decipher.setAuthTag(tag);
  const opened = new SecretBytes(decipher.update(ciphertext));
  try {
    decipher.final();
    return opened;
  } catch {
    opened[Symbol.dispose]();
    throw damaged("it was changed, or is for something else");
  }
}

function wrapFor(
  key: SecretBytes,
  purpose: string,
  { seal, publicKey }: { seal: string; publicKey: Buffer },
): WrappedKey {
  using once = newEmergencyKey();
  return wrapWith(key, purpose, { seal, publicKey, once, nonce: randomBytes(NONCE_BYTES) });
}

/** For the worked example only: with a chosen key pair and nonce. */
export function wrapWith(
  key: SecretBytes,
  purpose: string,
  { seal, publicKey, once, nonce }: { seal: string; publicKey: Buffer; once: SecretBytes; nonce: Buffer },
): WrappedKey {
  assert(key.length === KEY_BYTES, "a root key has 32 bytes");
  const head = Buffer.concat([Buffer.of(VERSION), publicKey, publicKeyOf(once)]);
  using wrapping = agree(once, publicKey, head);
  const cipher = createCipheriv("aes-256-gcm", wrapping.toKeyObject(), nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(additionalData(head, purpose));
  const ciphertext = cipher.update(key.expose());
  cipher.final();
  using proof = proofOf(key, publicKey);
  const blob = Buffer.concat([head, nonce, ciphertext, cipher.getAuthTag(), proof.expose()]);
  const keyId = createHash("sha256").update(publicKey).digest("hex").slice(0, 16);
  return { seal, keyId, ciphertext: blob.toString("base64") };
}

function parse(copy: WrappedKey) {
  const blob = Buffer.from(copy.ciphertext, "base64");
  if (blob.length !== BLOB_BYTES || blob[0] !== VERSION) throw damaged("it has an unknown form");
  const at = (from: number, length: number) => blob.subarray(from, from + length);
  const afterNonce = HEAD_BYTES + NONCE_BYTES;
  return {
    blob,
    publicKey: at(1, POINT_BYTES),
    ephemeral: at(1 + POINT_BYTES, POINT_BYTES),
    nonce: at(HEAD_BYTES, NONCE_BYTES),
    ciphertext: at(afterNonce, KEY_BYTES),
    tag: at(afterNonce + KEY_BYTES, TAG_BYTES),
    proof: at(afterNonce + KEY_BYTES + TAG_BYTES, KEY_BYTES),
  };
}

function agree(secret: SecretBytes, other: Buffer, blob: Buffer): SecretBytes {
  const pair = createECDH(CURVE);
  pair.setPrivateKey(secret.expose());
  using shared = new SecretBytes(sharedSecret(pair, other));
  return new SecretBytes(
    Buffer.from(hkdfSync("sha256", shared.toKeyObject(), blob.subarray(1, HEAD_BYTES), ENCRYPT, KEY_BYTES)),
  );
}

function sharedSecret(pair: ECDH, other: Buffer): Buffer {
  try {
    return pair.computeSecret(other);
  } catch {
    throw damaged("it holds no point of the curve");
  }
}

function proofOf(key: SecretBytes, publicKey: Buffer): SecretBytes {
  return new SecretBytes(Buffer.from(hkdfSync("sha256", key.toKeyObject(), publicKey, PROOF, KEY_BYTES)));
}

function publicKeyOf(secret: SecretBytes): Buffer {
  const pair = createECDH(CURVE);
  pair.setPrivateKey(secret.expose());
  return pair.getPublicKey();
}

/** Whether wrong shares have by chance, or on purpose, come to something that cannot be a private key. */
function isScalar(secret: SecretBytes): boolean {
  if (secret.length !== KEY_BYTES) return false;
  try {
    publicKeyOf(secret);
    return true;
  } catch {
    return false; // zero, or not below the order of the curve
  }
}

/** Node gives it without leading zeros. */
function privateBytes(pair: ECDH): SecretBytes {
  const bytes = pair.getPrivateKey();
  const whole = Buffer.alloc(KEY_BYTES);
  bytes.copy(whole, KEY_BYTES - bytes.length);
  bytes.fill(0);
  return new SecretBytes(whole);
}

function additionalData(blob: Buffer, purpose: string): Buffer {
  return Buffer.concat([blob.subarray(0, HEAD_BYTES), Buffer.from(purpose, "utf8")]);
}

function damaged(why: string): SealError {
  return new SealError("InvalidCiphertext", `the emergency set's copy of the key does not open: ${why}`, {
    transient: false,
  });
}
