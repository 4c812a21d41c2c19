// Wrapping and unwrapping inside a token, scheme by scheme (schemes.ts has the forms).
import { createHash, randomBytes } from "node:crypto";
import type { Handle, Mechanism } from "pkcs11js";
import { constantTimeEqual } from "#common/secret-bytes.ts";
import { SealError } from "../seal.ts";
import { returnValueOf } from "./faults.ts";
import { CKM, decodeBlob, encodeBlob, type SchemeName } from "./schemes.ts";
import type { Token } from "./token.ts";

const GCM_IV_BYTES = 12;
const GCM_TAG_BYTES = 16;
const CBC_IV_BYTES = 16;
const BLOCK_BYTES = 16;
const MAC_BYTES = 32;
const HASH_BYTES = 32;
/** CK_PARAMS_AES_GCM_v240 of pkcs11js: its own number for the shape of the parameter. */
const GCM_PARAMETERS = 7;
const CKR_GENERAL_ERROR = 0x5;
const CKR_FUNCTION_FAILED = 0x6;
const CKR_ARGUMENTS_BAD = 0x7;
const CKR_MECHANISM_PARAM_INVALID = 0x71;

export interface Wrapped {
  readonly keyId: string;
  readonly blob: Buffer;
}

interface Work {
  readonly token: Token;
  readonly session: Handle;
  readonly key: Handle;
  readonly binding: Buffer;
}

/** Wraps a key (at most a few hundred bytes) with the token's key, bound to `binding`. */
export function wrapInToken(token: Token, key: Buffer, binding: Buffer): Promise<Wrapped> {
  const { handle, keyId } = token.wrappingKey();
  return token.withSession(async (session) => {
    const body = await WRAP[token.scheme]({ token, session, key: handle, binding }, key);
    return { keyId, blob: encodeBlob(token.scheme, body) };
  });
}

/** The key again; the caller zeroes it. Throws SealError or what the library threw. */
export function unwrapInToken(token: Token, keyId: string, blob: Buffer, binding: Buffer): Promise<Buffer> {
  const { scheme, body } = decodeBlob(blob);
  const { handle } = token.keyNamed(keyId);
  return token.withSession(async (session) => {
    const work = { token, session, key: handle, binding };
    try {
      return await UNWRAP[scheme](work, body);
    } catch (error) {
      if (saysNothing(error) && (await opensItsOwn(work, scheme))) throw refused();
      throw error;
    }
  });
}

/** Tokens answer so to a wrong tag and to trouble of their own alike (SoftHSM2: CKR_GENERAL_ERROR for both). */
function saysNothing(error: unknown): boolean {
  return [CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED].includes(returnValueOf(error) ?? -1);
}

/** Whether the key does open what it has just wrapped: then the token is well, and what it refused is not its own. */
async function opensItsOwn(work: Work, scheme: SchemeName): Promise<boolean> {
  const nonce = randomBytes(HASH_BYTES);
  try {
    return nonce.equals(await UNWRAP[scheme](work, await WRAP[scheme](work, Buffer.from(nonce))));
  } catch {
    return false;
  }
}

type Scheme = (work: Work, bytes: Buffer) => Promise<Buffer>;

const WRAP: Readonly<Record<SchemeName, Scheme>> = {
  // A zero-length IV arrives as the NULL that CloudHSM wants: its output begins with the IV that it made.
  "cloudhsm-gcm": (work, key) => encrypt(work, gcm(CKM.CLOUDHSM_AES_GCM, Buffer.alloc(0), work.binding), key, 28),
  "aes-gcm": wrapByGcm,
  "aes-cbc-hmac": wrapByCbc,
  "aes-key-wrap": wrapByKeyWrap,
};

const UNWRAP: Readonly<Record<SchemeName, Scheme>> = {
  "cloudhsm-gcm": (work, body) => decrypt(work, gcm(CKM.CLOUDHSM_AES_GCM, Buffer.alloc(0), work.binding), body),
  "aes-gcm": (work, body) => {
    const iv = Buffer.from(body.subarray(0, GCM_IV_BYTES));
    return decrypt(work, gcm(CKM.AES_GCM, iv, work.binding), body.subarray(GCM_IV_BYTES));
  },
  "aes-cbc-hmac": unwrapByCbc,
  "aes-key-wrap": unwrapByKeyWrap,
};

function gcm(mechanism: number, iv: Buffer, aad: Buffer): Mechanism {
  const parameter = { type: GCM_PARAMETERS, iv, ivBits: iv.length * 8, aad, tagBits: GCM_TAG_BYTES * 8 };
  return { mechanism, parameter };
}

async function encrypt({ token, session, key }: Work, mechanism: Mechanism, bytes: Buffer, more: number) {
  token.pkcs11.C_EncryptInit(session, mechanism, key);
  return token.pkcs11.C_EncryptAsync(session, bytes, Buffer.alloc(bytes.length + more));
}

async function decrypt({ token, session, key }: Work, mechanism: Mechanism, bytes: Buffer): Promise<Buffer> {
  token.pkcs11.C_DecryptInit(session, mechanism, key);
  return token.pkcs11.C_DecryptAsync(session, bytes, Buffer.alloc(bytes.length));
}

/** Our IV, or, where the token wants to make it, one of zeroes that it overwrites. */
async function wrapByGcm(work: Work, key: Buffer): Promise<Buffer> {
  const run = async (iv: Buffer) => {
    const sealed = await encrypt(work, gcm(CKM.AES_GCM, iv, work.binding), key, GCM_TAG_BYTES);
    return Buffer.concat([iv, sealed]);
  };
  try {
    return await run(randomBytes(GCM_IV_BYTES));
  } catch (error) {
    if (![CKR_ARGUMENTS_BAD, CKR_MECHANISM_PARAM_INVALID].includes(returnValueOf(error) ?? -1)) throw error;
  }
  const iv = Buffer.alloc(GCM_IV_BYTES);
  const sealed = await run(iv);
  if (iv.every((byte) => byte === 0))
    throw new SealError("Misconfigured", "the token neither takes an IV nor makes one: set another mechanism", {
      transient: false,
    });
  return sealed;
}

async function wrapByCbc(work: Work, key: Buffer): Promise<Buffer> {
  const iv = randomBytes(CBC_IV_BYTES);
  const ciphertext = await encrypt(work, { mechanism: CKM.AES_CBC_PAD, parameter: iv }, key, BLOCK_BYTES);
  return Buffer.concat([iv, ciphertext, await macOf(work, iv, ciphertext)]);
}

async function unwrapByCbc(work: Work, body: Buffer): Promise<Buffer> {
  const iv = Buffer.from(body.subarray(0, CBC_IV_BYTES));
  const ciphertext = body.subarray(CBC_IV_BYTES, -MAC_BYTES);
  if (!constantTimeEqual(await macOf(work, iv, ciphertext), body.subarray(-MAC_BYTES))) throw refused();
  return decrypt(work, { mechanism: CKM.AES_CBC_PAD, parameter: iv }, ciphertext);
}

async function macOf({ token, session, binding }: Work, iv: Buffer, ciphertext: Buffer): Promise<Buffer> {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(binding.length);
  token.pkcs11.C_SignInit(session, { mechanism: CKM.SHA256_HMAC }, token.hmacKey().handle);
  return token.pkcs11.C_SignAsync(session, Buffer.concat([length, binding, iv, ciphertext]), Buffer.alloc(MAC_BYTES));
}

/** Key wrap takes keys alone, so the bytes become a key of this session, which the token wraps and forgets. */
async function wrapByKeyWrap({ token, session, key, binding }: Work, bytes: Buffer): Promise<Buffer> {
  const value = Buffer.concat([hashOf(binding), bytes]);
  const object = token.createSessionKey(session, value);
  value.fill(0);
  try {
    const mechanism = { mechanism: CKM.AES_KEY_WRAP_PAD };
    return await token.pkcs11.C_WrapKeyAsync(
      session,
      mechanism,
      key,
      object,
      Buffer.alloc(HASH_BYTES + bytes.length + 32),
    );
  } finally {
    token.pkcs11.C_DestroyObject(session, object);
  }
}

async function unwrapByKeyWrap({ token, session, key, binding }: Work, body: Buffer): Promise<Buffer> {
  const value = await token.unwrapToBytes(session, { mechanism: CKM.AES_KEY_WRAP_PAD }, key, body);
  try {
    if (!constantTimeEqual(value.subarray(0, HASH_BYTES), hashOf(binding))) throw refused();
    return Buffer.from(value.subarray(HASH_BYTES));
  } finally {
    value.fill(0);
  }
}

function hashOf(binding: Buffer): Buffer {
  return createHash("sha256").update(binding).digest();
}

function refused(): SealError {
  return new SealError("InvalidCiphertext", "the wrapped key is damaged, or of another key, cluster or purpose", {
    transient: false,
  });
}
