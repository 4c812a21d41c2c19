// Shamir: the field against FIPS 197, splitting and combining against worked examples and by properties.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SecretBytes } from "#common/secret-bytes.ts";
import { combine } from "../combine.ts";
import { inverse, multiply } from "../field.ts";
import { SHARED_SECRET_BYTES_MAX, SHARES_MAX, split } from "../split.ts";
import { createShamirSeal } from "./shamir-seal.ts";

const share = (hex: string) => new SecretBytes(Buffer.from(hex, "hex"));
const hex = (secret: SecretBytes) => secret.expose().toString("hex");

/** Multiplication by logarithms to the generator 3: another way to the same field. */
function multiplyByLogarithms(): (a: number, b: number) => number {
  const powers: number[] = [];
  for (let i = 0, value = 1; i < 255; i++) {
    powers.push(value);
    const doubled = value << 1;
    value ^= doubled > 255 ? doubled ^ 0x11b : doubled;
  }
  return (a, b) => (a === 0 || b === 0 ? 0 : (powers[(powers.indexOf(a) + powers.indexOf(b)) % 255] ?? -1));
}

describe("field", () => {
  it.each([
    [0x57, 0x83, 0xc1], // FIPS 197, section 4.2
    [0x57, 0x13, 0xfe], // FIPS 197, section 4.2.1
    [0x53, 0xca, 0x01],
    [3, 7, 9],
    [0, 0xff, 0],
  ])("%d times %d is %d", (a, b, product) => {
    expect(multiply(a, b)).toBe(product);
    expect(multiply(b, a)).toBe(product);
  });

  it("agrees with logarithms on every pair, and every element but zero has an inverse", () => {
    const other = multiplyByLogarithms();
    let wrong = 0;
    for (let a = 0; a < 256; a++) for (let b = 0; b < 256; b++) if (multiply(a, b) !== other(a, b)) wrong++;
    for (let a = 1; a < 256; a++) if (multiply(a, inverse(a)) !== 1) wrong++;
    expect(wrong).toBe(0);
    expect(inverse(0)).toBe(0);
  });
});

describe("combine", () => {
  it("recovers worked examples", () => {
    // Bytes 00 42 ff on the lines y = s + {03}x, s + {57}x and s + {01}x at x = 07 and 13:
    // {03}{07} = 09, {57}{07} = be, {03}{13} = 35, {57}{13} = fe (FIPS 197, 4.2.1).
    expect(hex(combine([share("09fcf807"), share("35bcec13")], 2))).toBe("0042ff");
    // A quadratic: y = 2a + {01}x + {01}x^2 at 1, 2, 3: 2a, 2c, 2c.
    expect(hex(combine([share("2a01"), share("2c02"), share("2c03")], 3))).toBe("2a");
  });

  it.each([
    ["too few", ["0101"], 2, "2 key shares are needed, there are 1"],
    ["none", [], 1, "1 key shares are needed, there are 0"],
    ["the same twice", ["0101", "0101"], 2, "a key share was given twice"],
    ["other lengths", ["0101", "010102"], 2, "the key shares differ in length"],
    ["a zero coordinate", ["0101", "0100"], 2, "a key share is damaged: its last byte is zero"],
    ["an empty one", ["01", "02"], 2, "a key share has a wrong length"],
  ])("refuses %s", (_, shares, threshold, message) => {
    expect(() => combine(shares.map(share), threshold)).toThrow(message);
  });
});

const anySplit = fc
  .integer({ min: 2, max: 12 })
  .chain((shares) => fc.record({ shares: fc.constant(shares), threshold: fc.integer({ min: 2, max: shares }) }));
const anySecret = fc.uint8Array({ minLength: 1, maxLength: 40 });

describe("split", () => {
  it("lets any threshold of the shares, and all of them, recover the secret", () => {
    fc.assert(
      fc.property(anySecret, anySplit, fc.infiniteStream(fc.nat()), (bytes, how, order) => {
        using secret = new SecretBytes(Uint8Array.from(bytes));
        const shares = split(secret, how);
        const mixed = shares.map((s) => ({ s, at: order.next().value ?? 0 })).sort((a, b) => a.at - b.at);
        const some = mixed.slice(0, how.threshold).map(({ s }) => s);
        expect(shares).toHaveLength(how.shares);
        expect(combine(some, how.threshold).equals(secret)).toBe(true);
        expect(combine(shares, how.threshold).equals(secret)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it("gives every share a distinct x that is not zero, at most shares as well", () => {
    using secret = SecretBytes.random(32);
    const shares = split(secret, { shares: SHARES_MAX, threshold: SHARES_MAX });
    const xs = shares.map((s) => s.expose()[32]);
    expect(shares.every((s) => s.length === 33)).toBe(true);
    expect(new Set(xs).size).toBe(SHARES_MAX);
    expect(xs).not.toContain(0);
    expect(combine(shares, SHARES_MAX).equals(secret)).toBe(true);
  });

  it("tells nothing by fewer shares: with one missing, the result varies over all bytes", () => {
    using secret = new SecretBytes(new Uint8Array(1));
    const seen = new Set<number>();
    for (let i = 0; i < 3000; i++) {
      const shares = split(secret, { shares: 3, threshold: 3 });
      seen.add(combine(shares.slice(0, 2), 2).expose()[0] ?? -1);
    }
    // All 256 but for a chance of about 256 * (255/256)^3000 = 0.2 %; 240 and more practically always.
    expect(seen.size).toBeGreaterThan(240);
  });

  // What the holders of all shares but one know leaves every value of a byte possible by exactly one value of the share
  // that is missing: so none is more likely than another.
  it.each([
    [2, [[0x53, 1]]],
    [2, [[0, 255]]],
    [
      3,
      [
        [0x2a, 1],
        [0xff, 2],
      ],
    ],
    [
      4,
      [
        [7, 3],
        [7, 5],
        [0, 200],
      ],
    ],
  ])("leaves all 256 values of a byte equally possible to those who lack one share of %d", (threshold, known) => {
    const have = known.map(([y = 0, x = 0]) => new SecretBytes(Buffer.of(y, x)));
    const taken = known.map(([, x]) => x);
    for (const x of [1, 2, 3, 77, 128, 254, 255].filter((candidate) => !taken.includes(candidate))) {
      const secrets = Array.from({ length: 256 }, (_, y) => {
        using found = combine([...have, new SecretBytes(Buffer.of(y, x))], threshold);
        return found.expose()[0] ?? -1;
      });
      expect(new Set(secrets).size).toBe(256);
    }
  });

  it("gives the secret itself as the only share", () => {
    using secret = SecretBytes.random(32);
    const shares = split(secret, { shares: 1, threshold: 1 });
    expect(shares.map(hex)).toEqual([hex(secret)]);
    expect(combine(shares, 1).equals(secret)).toBe(true);
  });

  it.each([
    [0, 0, "secret_shares must be a whole number from 1 to 255"],
    [256, 2, "secret_shares must be a whole number from 1 to 255"],
    [2.5, 2, "secret_shares must be a whole number from 1 to 255"],
    [3, 4, "secret_threshold must be a whole number from 1 to secret_shares"],
    [3, 0, "secret_threshold must be a whole number from 1 to secret_shares"],
    [3, 1, "secret_threshold must be at least 2 when there are several secret_shares"],
  ])("refuses %d shares with threshold %d", (shares, threshold, message) => {
    expect(() => split(SecretBytes.random(32), { shares, threshold })).toThrow(message);
  });

  it.each([
    [0, false],
    [1, true],
    [SHARED_SECRET_BYTES_MAX, true],
    [SHARED_SECRET_BYTES_MAX + 1, false],
  ])("a secret of %d bytes: %s", (length, accepted) => {
    const attempt = () => split(SecretBytes.random(length), { shares: 2, threshold: 2 });
    if (accepted) expect(attempt()).toHaveLength(2);
    else expect(attempt).toThrow("a secret to split must have 1 to 1024 bytes");
  });
});

describe("the seal", () => {
  const seal = createShamirSeal("shamir");

  it("opens with the key it was wrapped under, given as shares", () => {
    using kek = SecretBytes.random(32);
    using root = SecretBytes.random(32);
    const wrapped = seal.wrap(root, "root-key", kek);
    const again = combine(split(kek, { shares: 5, threshold: 3 }).slice(1, 4), 3);
    expect(seal.unwrap(wrapped, "root-key", again).equals(root)).toBe(true);
    expect(wrapped.seal).toBe("shamir");
    expect(wrapped.ciphertext).not.toContain(root.expose().toString("base64").slice(0, 20));
  });

  it("opens for no other key and no other purpose, and says what to do", () => {
    using kek = SecretBytes.random(32);
    using root = SecretBytes.random(32);
    const wrapped = seal.wrap(root, "root-key", kek);
    const refusal = expect.objectContaining({ fault: "InvalidCiphertext", transient: false });
    expect(() => seal.unwrap(wrapped, "root-key", SecretBytes.random(32))).toThrow(refusal);
    expect(() => seal.unwrap(wrapped, "root-key", SecretBytes.random(31))).toThrow(refusal);
    expect(() => seal.unwrap(wrapped, "recovery-key", kek)).toThrow("start again with the shares");
  });

  it("names the key by its fingerprint", () => {
    using kek = SecretBytes.random(32);
    using root = SecretBytes.random(32);
    const ids = [kek, kek, SecretBytes.random(32)].map((key) => seal.wrap(root, "p", key).keyId);
    expect(ids[0]).toMatch(/^[0-9a-f]{16}$/);
    expect(ids[1]).toBe(ids[0]);
    expect(ids[2]).not.toBe(ids[0]);
  });
});
