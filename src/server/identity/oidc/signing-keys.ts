// Named keys: pairs that sign, take turns, and are believed for a while after. Storage is the truth: whoever signs first
// after a key's time has come rotates it in the same transaction, so no node keeps a timer and none signs with a pair
// that others have retired. The next pair is published one period before it signs, so that clients know it by then.
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, randomUUID } from "node:crypto";
import { promisify } from "node:util";
import { type JWTPayload, SignJWT } from "jose";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import {
  type Algorithm,
  type Key,
  keyKind,
  listNames,
  materialKey,
  materialKind,
  type PublicKey,
  RECORDS_MAX,
  recordKey,
} from "./oidc-records.ts";

export const DEFAULT_KEY = "default";
const DAY_SECONDS = 86_400;
/** NIST SP 800-57: 112 bits of strength, what relying parties take without asking. */
const RSA_BITS = 2_048;

const CURVES: Readonly<Record<string, string>> = { ES256: "P-256", ES384: "P-384", ES512: "P-521" };
const generate = promisify(generateKeyPair);

/** What a key is before anyone has said otherwise. */
export function newKey(name: string): Key {
  return {
    name,
    algorithm: "RS256",
    rotationPeriodSeconds: DAY_SECONDS,
    verificationTtlSeconds: DAY_SECONDS,
    allowedClientIds: name === DEFAULT_KEY ? ["*"] : [],
    signingKid: "",
    nextKid: "",
    rotatesAtSeconds: 0,
    published: [],
  };
}

/** A named key; the one called "default" is always there. */
export async function readKey(tx: Transaction, name: string): Promise<Key | undefined> {
  return (await tx.read(keyKind, recordKey("key", name))) ?? (name === DEFAULT_KEY ? newKey(name) : undefined);
}

export function writeKey(tx: Transaction, key: Key): void {
  tx.write(keyKind, recordKey("key", key.name), key);
}

export function deleteKey(tx: Transaction, key: Key): void {
  for (const { kid } of key.published) tx.delete(materialKey(kid));
  tx.delete(recordKey("key", key.name));
}

/** All named keys. */
export async function allKeys(tx: Transaction): Promise<readonly Key[]> {
  const names = await listNames(tx, "key", { limit: RECORDS_MAX }, [DEFAULT_KEY]);
  await tx.prefetch(names.map((name) => recordKey("key", name)));
  const keys = await Promise.all(names.map((name) => readKey(tx, name)));
  return keys.filter((key) => key !== undefined);
}

/** Signs by a key, which is first rotated when its time has come. */
export async function sign(tx: Transaction, key: Key, claims: JsonObject, nowSeconds: number): Promise<string> {
  const current = await dueKey(tx, key, nowSeconds);
  const material = await tx.read(materialKind, materialKey(current.signingKid));
  if (!material) throw new Error(`OIDC key "${key.name}" has no material for ${current.signingKid}`);
  const payload: JWTPayload = { ...claims };
  return new SignJWT(payload)
    .setProtectedHeader({ alg: current.algorithm, kid: current.signingKid, typ: "JWT" })
    .sign(privateKeyOf(material.pkcs8));
}

async function dueKey(tx: Transaction, key: Key, nowSeconds: number): Promise<Key> {
  if (key.signingKid === "") return withMaterial(tx, key, nowSeconds);
  return nowSeconds < key.rotatesAtSeconds ? key : rotate(tx, key, nowSeconds, key.verificationTtlSeconds);
}

/** The key with pairs of its algorithm, written; as it is when it has them. */
export async function withMaterial(tx: Transaction, key: Key, nowSeconds: number): Promise<Key> {
  const signing = key.published.find(({ kid }) => kid === key.signingKid);
  if (signing?.algorithm === key.algorithm) return key;
  const [first, next] = [await newPair(tx, key.algorithm), await newPair(tx, key.algorithm)];
  for (const kid of [key.signingKid, key.nextKid]) if (kid !== "") tx.delete(materialKey(kid));
  const believed = retire(key, nowSeconds, key.verificationTtlSeconds).filter(({ kid }) => kid !== key.nextKid);
  const made = { ...key, signingKid: first.kid, nextKid: next.kid, published: [...believed, first, next] };
  const after = { ...made, rotatesAtSeconds: nowSeconds + key.rotationPeriodSeconds };
  writeKey(tx, after);
  return after;
}

/** Lets the next pair sign. What the old one signed is believed for `verificationTtlSeconds` more. */
export async function rotate(
  tx: Transaction,
  key: Key,
  nowSeconds: number,
  verificationTtlSeconds: number,
): Promise<Key> {
  if (key.signingKid === "") return withMaterial(tx, key, nowSeconds);
  const next = await newPair(tx, key.algorithm);
  tx.delete(materialKey(key.signingKid));
  const after = {
    ...key,
    signingKid: key.nextKid,
    nextKid: next.kid,
    rotatesAtSeconds: nowSeconds + key.rotationPeriodSeconds,
    published: [...retire(key, nowSeconds, verificationTtlSeconds), next],
  };
  writeKey(tx, after);
  return after;
}

function retire(key: Key, nowSeconds: number, verificationTtlSeconds: number): readonly PublicKey[] {
  return believedKeys(key, nowSeconds).map((one) =>
    one.kid === key.signingKid ? { ...one, expiresAtSeconds: nowSeconds + verificationTtlSeconds } : one,
  );
}

/** The public halves that must be believed now. */
export function believedKeys(key: Key, nowSeconds: number): readonly PublicKey[] {
  return key.published.filter(
    ({ expiresAtSeconds }) => expiresAtSeconds === undefined || nowSeconds < expiresAtSeconds,
  );
}

async function newPair(tx: Transaction, algorithm: Algorithm): Promise<PublicKey> {
  const { publicKey, privateKey } = await generatePair(algorithm);
  const kid = randomUUID();
  const der = privateKey.export({ format: "der", type: "pkcs8" });
  tx.write(materialKind, materialKey(kid), { pkcs8: der.toString("base64") });
  der.fill(0);
  const jwk = parseJson(JSON.stringify(publicKey.export({ format: "jwk" })));
  if (!isJsonObject(jwk)) throw new Error("a public key did not become a JWK");
  return { kid, algorithm, jwk: { ...jwk, use: "sig", alg: algorithm, kid } };
}

function generatePair(algorithm: Algorithm): Promise<{ publicKey: KeyObject; privateKey: KeyObject }> {
  const namedCurve = CURVES[algorithm];
  if (namedCurve !== undefined) return generate("ec", { namedCurve });
  return algorithm === "EdDSA" ? generate("ed25519") : generate("rsa", { modulusLength: RSA_BITS });
}

function privateKeyOf(pkcs8: string): KeyObject {
  const der = Buffer.from(pkcs8, "base64");
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  return key;
}

/** For checking a signature. */
export function publicKeyOf({ jwk }: PublicKey): KeyObject {
  return createPublicKey({ key: { ...jwk }, format: "jwk" });
}
