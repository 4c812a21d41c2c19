// What a ServiceAccount's token says of itself, and the checks that need no cluster. None of it is proof: the review
// is. The checks only spare the API server tokens that could not log in anyway, and hold them to the configured keys.
import { createPublicKey } from "node:crypto";
import { compactVerify, decodeJwt, decodeProtectedHeader, type JWTPayload } from "jose";
import type { Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Config } from "./config.ts";

/** ServiceAccount tokens have about 1 KiB; nothing larger is sent on to the API server. */
export const JWT_BYTES_MAX = 16 * 1024;
/** Clocks of servers differ by seconds; what is beyond a minute is wrong. */
const CLOCK_SKEW_MILLIS = 60_000;
const ISSUER_DEFAULT = "kubernetes/serviceaccount";
/** The algorithms that API servers sign with. Never "none", never a shared secret. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"];

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface Claims extends ServiceAccount {
  /** Only tokens that are kept in a Secret have it. */
  readonly secretName: string;
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly notBefore: Millis | undefined;
  readonly expires: Millis | undefined;
}

/** Reads the claims. Throws `permission_denied` for what is no token of a ServiceAccount. */
export function readClaims(jwt: string): Claims {
  const payload = decode(jwt);
  const nested = recordOf(payload["kubernetes.io"]);
  const account = recordOf(nested["serviceaccount"]);
  const legacy = (name: string) => textOf(payload[`kubernetes.io/serviceaccount/${name}`]);
  return {
    namespace: textOf(nested["namespace"]) || legacy("namespace"),
    name: textOf(account["name"]) || legacy("service-account.name"),
    uid: textOf(account["uid"]) || legacy("service-account.uid"),
    secretName: legacy("secret.name"),
    issuer: payload.iss ?? "",
    audiences: [payload.aud ?? []].flat(),
    notBefore: payload.nbf === undefined ? undefined : payload.nbf * 1000,
    expires: payload.exp === undefined ? undefined : payload.exp * 1000,
  };
}

function decode(jwt: string): JWTPayload {
  if (Buffer.byteLength(jwt) > JWT_BYTES_MAX) throw refused(`the jwt is longer than ${JWT_BYTES_MAX} bytes`);
  try {
    if (!ALGORITHMS.includes(decodeProtectedHeader(jwt).alg ?? ""))
      throw refused("the jwt's algorithm is not accepted");
    return decodeJwt(jwt);
  } catch (error) {
    throw error instanceof CofferError ? error : refused("the jwt cannot be read");
  }
}

/** The checks of time, issuer and audience. Throws `permission_denied`. */
export function assertClaims(claims: Claims, config: Config, audience: string, now: Millis): void {
  if (claims.expires !== undefined && claims.expires + CLOCK_SKEW_MILLIS <= now) throw refused("the jwt has expired");
  if (claims.notBefore !== undefined && claims.notBefore - CLOCK_SKEW_MILLIS > now)
    throw refused("the jwt is not valid yet");
  if (!config.disableIssuerCheck && claims.issuer !== (config.issuer || ISSUER_DEFAULT))
    throw refused("invalid issuer (iss) claim");
  if (audience !== "" && !claims.audiences.includes(audience))
    throw refused("invalid audience (aud) claim: audience claim does not match any expected audience");
}

/** Holds a token to the configured public keys, if there are any. Throws `permission_denied`. */
export async function assertSigned(jwt: string, pemKeys: readonly string[]): Promise<void> {
  if (pemKeys.length === 0) return;
  for (const pem of pemKeys) if (await isSignedBy(jwt, pem)) return;
  throw new CofferError("permission_denied", "permission denied");
}

async function isSignedBy(jwt: string, pem: string): Promise<boolean> {
  try {
    await compactVerify(jwt, createPublicKey(pem), { algorithms: ALGORITHMS });
    return true;
  } catch {
    return false;
  }
}

export function refused(message: string): CofferError {
  return new CofferError("permission_denied", message);
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
