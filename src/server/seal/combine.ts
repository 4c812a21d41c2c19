// Recovers a secret from shares (format: split.ts) by Lagrange interpolation at zero. It cannot tell whether the shares
// belong together: wrong ones give a wrong secret, which the seal notices because it opens nothing.
import { CofferError } from "#common/errors.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { inverse, multiply } from "./field.ts";
import { SHARED_SECRET_BYTES_MAX, SHARES_MAX } from "./split.ts";

/**
 * The secret; the caller disposes it. `threshold` is that of the split: 1 means the share is the secret itself.
 * Throws `invalid_request` when the shares are too few, differ in length or repeat an x.
 */
export function combine(shares: readonly SecretBytes[], threshold: number): SecretBytes {
  const first = shares[0];
  if (first === undefined || shares.length < threshold || shares.length > SHARES_MAX)
    throw new CofferError("invalid_request", `${threshold} key shares are needed, there are ${shares.length}`);
  if (threshold === 1) return first.clone();
  const coordinates = shares.map((share) => coordinateOf(share, first.length));
  if (new Set(coordinates).size !== coordinates.length)
    throw new CofferError("invalid_request", "a key share was given twice");
  const secret = Buffer.alloc(first.length - 1);
  shares.forEach((share, i) => {
    const weight = weightAtZero(coordinates, i);
    const bytes = share.expose();
    for (let k = 0; k < secret.length; k++) secret[k] = (secret[k] ?? 0) ^ multiply(weight, bytes[k] ?? 0);
  });
  return new SecretBytes(secret);
}

/** The x of a share. Throws `invalid_request` for what cannot be a share of the given length. */
function coordinateOf(share: SecretBytes, length: number): number {
  if (share.length < 2 || share.length > SHARED_SECRET_BYTES_MAX + 1)
    throw new CofferError("invalid_request", "a key share has a wrong length");
  if (share.length !== length) throw new CofferError("invalid_request", "the key shares differ in length");
  const x = share.expose()[length - 1] ?? 0;
  if (x === 0) throw new CofferError("invalid_request", "a key share is damaged: its last byte is zero");
  return x;
}

/** Lagrange's basis polynomial of share i at zero: the product of x_j / (x_j - x_i) over the others. */
function weightAtZero(coordinates: readonly number[], i: number): number {
  const xi = coordinates[i] ?? 0;
  let weight = 1;
  coordinates.forEach((xj, j) => {
    if (j !== i) weight = multiply(weight, multiply(xj, inverse(xj ^ xi)));
  });
  return weight;
}
