// FIPS mode: a process whose OpenSSL uses approved algorithms of its FIPS provider alone. It is switched on before the
// process begins (OPENSSL_CONF, docs/guides/fips.md) and never later: what was fetched before would stay as it was. Here is
// whether it is on and works, and the refusal of what does not go through OpenSSL or is not approved.
import { createHash, getFips } from "node:crypto";
import { CofferError } from "./errors.ts";

/** Whether this process is in FIPS mode. */
export function isFipsMode(): boolean {
  return getFips() === 1;
}

/**
 * For who was told to run in FIPS mode only. Throws `invalid_request`, with the next step, when the mode is off, when the
 * provider is absent (then nothing can be hashed) or when it refuses nothing.
 */
export function assertFipsMode(): void {
  const refuse = (what: string): never => {
    throw new CofferError(
      "invalid_request",
      `fips is true, and ${what}: give this process an OPENSSL_CONF that activates a FIPS provider for OpenSSL ` +
        `${process.versions.openssl} with default_properties = fips=yes (docs/guides/fips.md), or take fips out`,
    );
  };
  if (!isFipsMode()) refuse("this process is not in FIPS mode");
  if (!canHash("sha256")) refuse("OpenSSL finds no FIPS provider");
  if (canHash("md5")) refuse("OpenSSL goes on offering MD5");
}

function canHash(algorithm: string): boolean {
  try {
    createHash(algorithm).digest();
    return true;
  } catch {
    return false;
  }
}

/** Throws `invalid_request` in FIPS mode. `algorithm` begins the sentence, `instead` is the next step. */
export function assertApproved(algorithm: string, instead: string): void {
  if (isFipsMode()) throw new CofferError("invalid_request", `${algorithm} is not allowed in FIPS mode: ${instead}`);
}
