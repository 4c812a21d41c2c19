// The format of wrapped keys: a worked example that must stay readable for ever, and damage.
import { describe, expect, it } from "vitest";
import { SecretBytes } from "#common/secret-bytes.ts";
import { decryptKey, encryptKey, encryptWithNonce, WRAPPED_KEY_BYTES_MAX } from "./key-blob.ts";

const bytes = (from: number, length: number) => Uint8Array.from({ length }, (_, i) => from + i);
const under = () => new SecretBytes(bytes(0, 32));

describe("a wrapped key", () => {
  it("looks like the worked example", () => {
    // Key 00..1f, nonce 60..6b, plaintext 40..4f, additional data 01 "root-key"; made with Python's cryptography.
    const blob = encryptWithNonce(new SecretBytes(bytes(0x40, 16)), "root-key", under(), bytes(0x60, 12));
    const expected =
      "01" + // version
      "606162636465666768696a6b" + // nonce
      "aa9ad916ff05c528345fb3603ec08f0c" + // ciphertext
      "920f7d92dd7cc0d21942e6b7a6def826"; // tag
    expect(blob.toString("hex")).toBe(expected);
    expect(decryptKey(blob, "root-key", under())?.expose()).toEqual(Buffer.from(bytes(0x40, 16)));
  });

  it("opens no more with any bit changed, cut short or lengthened", () => {
    const blob = encryptKey(SecretBytes.random(32), "p", under());
    for (let bit = 0; bit < blob.length * 8; bit++) {
      const damaged = Buffer.from(blob);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(decryptKey(damaged, "p", under())).toBeUndefined();
    }
    for (let length = 0; length < blob.length; length++)
      expect(decryptKey(blob.subarray(0, length), "p", under())).toBeUndefined();
    expect(decryptKey(Buffer.concat([blob, Buffer.of(0)]), "p", under())).toBeUndefined();
  });

  it("holds at most 4096 bytes", () => {
    const largest = SecretBytes.random(WRAPPED_KEY_BYTES_MAX);
    expect(decryptKey(encryptKey(largest, "p", under()), "p", under())?.equals(largest)).toBe(true);
    expect(() => encryptKey(SecretBytes.random(WRAPPED_KEY_BYTES_MAX + 1), "p", under())).toThrow("1 to 4096 bytes");
  });
});
