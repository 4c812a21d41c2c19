// Arithmetic in GF(2^8) with the AES polynomial x^8 + x^4 + x^3 + x + 1 (FIPS 197, section 4.2), for secret sharing.
// Neither branches nor looks anything up by a secret value: tables would leave traces in the cache, and the secrets are
// a few dozen bytes, so the slow way costs microseconds.

/** The polynomial without its leading term. */
const REDUCTION = 0x1b;

/** The product of two field elements (0..255). */
export function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = a;
  for (let bit = 0; bit < 8; bit++) {
    product ^= shifted & -((b >> bit) & 1);
    shifted = ((shifted << 1) & 0xff) ^ (REDUCTION & -(shifted >> 7));
  }
  return product;
}

/** The multiplicative inverse, a^254; of zero it is zero, so callers refuse zero first. */
export function inverse(a: number): number {
  let result = 1;
  let power = a;
  // 254 = 0b11111110: the product of a^2, a^4, ... a^128.
  for (let bit = 1; bit < 8; bit++) {
    power = multiply(power, power);
    result = multiply(result, power);
  }
  return result;
}
