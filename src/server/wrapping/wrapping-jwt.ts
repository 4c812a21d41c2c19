// Wrapping tokens in the form of a JSON Web Token (RFC 7519), for what passes tokens on and wants to see whose they are:
// signed by a key of the store (ES512), with the ordinary token as `jti`. The signature proves where it comes from; what
// it opens is the ordinary token's matter.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { jwtVerify, SignJWT } from "jose";
import { CofferError } from "#common/errors.ts";
import { object, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import type { TokenRecord } from "../tokens/token-record.ts";

const ALGORITHM = "ES512";
const keyKind = recordKind("signing key of wrapping tokens", object({ pkcs8: string }), { cached: true });
const KEY = "core/wrapping-key";

/** Whether a text has the form of a JWT; no other token of this server has dots in these places. */
export function isJwt(token: string): boolean {
  return /^ey[\w-]+\.[\w-]+\.[\w-]+$/.test(token);
}

/** The JWT around a wrapping token. */
export async function signWrapping(tx: Transaction, token: string, record: TokenRecord): Promise<string> {
  return new SignJWT({ accessor: record.accessor, type: "wrapping" })
    .setProtectedHeader({ alg: ALGORITHM, typ: "JWT" })
    .setJti(token)
    .setIssuedAt(record.issuedAtSeconds)
    .setExpirationTime(record.expiresAtSeconds)
    .sign(await privateKey(tx));
}

/** The wrapping token inside; undefined for a JWT that this store did not sign. Time is the token's own matter. */
export async function openWrapping(tx: Transaction, jwt: string): Promise<string | undefined> {
  const record = await tx.read(keyKind, KEY);
  if (!record) return undefined;
  try {
    const { payload } = await jwtVerify(jwt, createPublicKey(record.pkcs8), {
      algorithms: [ALGORITHM],
      currentDate: new Date(0),
    });
    return payload["type"] === "wrapping" ? payload.jti : undefined;
  } catch {
    return undefined; // not ours, or changed on its way
  }
}

export interface WrappingPublicKey {
  /** Coordinates as decimal numbers. */
  readonly x: string;
  readonly y: string;
  readonly curve: "p521";
}

export async function wrappingPublicKey(tx: Transaction): Promise<WrappingPublicKey> {
  const { x, y } = createPublicKey(await privateKey(tx)).export({ format: "jwk" });
  if (x === undefined || y === undefined) throw new CofferError("internal", "the key of wrapping tokens is no EC key");
  return { x: decimal(x), y: decimal(y), curve: "p521" };
}

function decimal(base64url: string): string {
  return BigInt(`0x${Buffer.from(base64url, "base64url").toString("hex")}`).toString();
}

/** The store's key, made when it is needed first. */
async function privateKey(tx: Transaction): Promise<KeyObject> {
  const record = await tx.read(keyKind, KEY);
  if (record) return createPrivateKey(record.pkcs8);
  const made = generateKeyPairSync("ec", { namedCurve: "P-521" }).privateKey;
  tx.write(keyKind, KEY, { pkcs8: made.export({ type: "pkcs8", format: "pem" }).toString() });
  return made;
}
