// Splits a secret into shares of which any `threshold` recover it and fewer tell nothing (Shamir, "How to share a
// secret", 1979), each byte on its own polynomial over GF(2^8). Shares are those of Vault, so that its users' habits and
// tools go on working:
//   offset  size  meaning
//   0       n     y: the polynomial of each byte of the secret at x
//   n       1     x: 1..255, unique among the shares of one split
// With one share and threshold one the share is the secret itself, without an x byte.
import { randomBytes, randomInt } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { multiply } from "./field.ts";

/** x is one byte and zero is where the secret lies. */
export const SHARES_MAX = 255;
/** A key is 32 bytes; the rest is room. */
export const SHARED_SECRET_BYTES_MAX = 1024;

/** How a secret is split. */
export interface Split {
  /** How many shares are made: 1..255. */
  readonly shares: number;
  /** How many of them recover the secret: 2..shares, or 1 when there is one share. */
  readonly threshold: number;
}

/** Makes the shares; the caller owns and disposes them. Throws `invalid_request` for a split that cannot be. */
export function split(secret: SecretBytes, { shares, threshold }: Split): SecretBytes[] {
  assertSplit({ shares, threshold });
  const bytes = secret.expose();
  if (bytes.length === 0 || bytes.length > SHARED_SECRET_BYTES_MAX)
    throw new CofferError("invalid_request", `a secret to split must have 1 to ${SHARED_SECRET_BYTES_MAX} bytes`);
  if (shares === 1) return [secret.clone()];
  const coordinates = randomCoordinates(shares);
  const made = coordinates.map((x) => Buffer.concat([Buffer.alloc(bytes.length), Buffer.of(x)]));
  const coefficients = Buffer.alloc(threshold);
  for (let i = 0; i < bytes.length; i++) {
    randomBytes(threshold).copy(coefficients);
    coefficients[0] = bytes[i] ?? 0;
    for (const share of made) share[i] = evaluate(coefficients, share[bytes.length] ?? 0);
  }
  coefficients.fill(0);
  return made.map((share) => new SecretBytes(share));
}

/** Throws `invalid_request`, naming the field as `sys/init` does, when such a split cannot be made. */
export function assertSplit({ shares, threshold }: Split): void {
  if (!Number.isInteger(shares) || shares < 1 || shares > SHARES_MAX)
    throw new CofferError("invalid_request", `secret_shares must be a whole number from 1 to ${SHARES_MAX}`);
  if (!Number.isInteger(threshold) || threshold < 1 || threshold > shares)
    throw new CofferError("invalid_request", "secret_threshold must be a whole number from 1 to secret_shares");
  if (threshold === 1 && shares > 1)
    throw new CofferError(
      "invalid_request",
      "secret_threshold must be at least 2 when there are several secret_shares",
    );
}

/** Distinct numbers of 1..255 in random order: a share's x tells nothing about how many there are. */
function randomCoordinates(count: number): number[] {
  const all = Array.from({ length: SHARES_MAX }, (_, i) => i + 1);
  for (let i = all.length - 1; i > 0; i--) {
    const j = randomInt(i + 1);
    [all[i], all[j]] = [all[j] ?? 0, all[i] ?? 0];
  }
  return all.slice(0, count);
}

/** Horner's method; the first coefficient is the constant term, the secret byte. */
function evaluate(coefficients: Uint8Array, x: number): number {
  let y = 0;
  for (let i = coefficients.length - 1; i >= 0; i--) y = multiply(y, x) ^ (coefficients[i] ?? 0);
  return y;
}
