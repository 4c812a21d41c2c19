import { createSecretKey } from "node:crypto";
import { describe, expect, it } from "vitest";
import { base32, otpauthUrl, totpCode, totpCounter } from "./totp.ts";

// RFC 6238, appendix B: the same digits as often as the algorithm's key is long.
const DIGITS = "1234567890123456789012345678901234567890123456789012345678901234";
const KEY_BYTES = { SHA1: 20, SHA256: 32, SHA512: 64 };

describe("one-time passwords", () => {
  it.each([
    [59, "SHA1", "94287082"],
    [59, "SHA256", "46119246"],
    [59, "SHA512", "90693936"],
    [1111111109, "SHA1", "07081804"],
    [1111111109, "SHA256", "68084774"],
    [1111111109, "SHA512", "25091201"],
    [1111111111, "SHA1", "14050471"],
    [1111111111, "SHA256", "67062674"],
    [1111111111, "SHA512", "99943326"],
    [1234567890, "SHA1", "89005924"],
    [1234567890, "SHA256", "91819424"],
    [1234567890, "SHA512", "93441116"],
    [2000000000, "SHA1", "69279037"],
    [2000000000, "SHA256", "90698825"],
    [2000000000, "SHA512", "38618901"],
    [20000000000, "SHA1", "65353130"],
    [20000000000, "SHA256", "77737706"],
    [20000000000, "SHA512", "47863826"],
  ] as const)("at %i by %s are those of RFC 6238", (at, algorithm, code) => {
    const settings = { algorithm, digits: 8, periodSeconds: 30 };
    const key = createSecretKey(Buffer.from(DIGITS.slice(0, KEY_BYTES[algorithm])));
    expect(totpCode(key, settings, totpCounter(settings, at))).toBe(code);
  });
});

describe("base32", () => {
  it.each([
    ["", ""],
    ["f", "MY"],
    ["fo", "MZXQ"],
    ["foo", "MZXW6"],
    ["foob", "MZXW6YQ"],
    ["fooba", "MZXW6YTB"],
    ["foobar", "MZXW6YTBOI"],
  ])("of %j is that of RFC 4648 without padding", (text, encoded) => {
    expect(base32(Buffer.from(text))).toBe(encoded);
  });
});

describe("an otpauth URL", () => {
  it("says all that an app must know", () => {
    const settings = { algorithm: "SHA1", digits: 6, periodSeconds: 30 } as const;
    expect(otpauthUrl(Buffer.from("foobar"), settings, { issuer: "A & B", account: "ann:1" })).toBe(
      "otpauth://totp/A%20%26%20B:ann%3A1?algorithm=SHA1&digits=6&issuer=A%20%26%20B&period=30&secret=MZXW6YTBOI",
    );
  });
});
