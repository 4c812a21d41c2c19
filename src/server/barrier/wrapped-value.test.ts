import { createSecretKey } from "node:crypto";
import { describe, expect, it } from "vitest";
import { unwrapValue, wrapValue } from "./wrapped-value.ts";

const key = createSecretKey(Buffer.from("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "hex"));
const nonce = Buffer.from("a0a1a2a3a4a5a6a7a8a9aaab", "hex");
/** The worked example: storage key "logical/a", plaintext "hello"; made by another program (Python's cryptography). */
const EXAMPLE = "01a0a1a2a3a4a5a6a7a8a9aaab8e7d10412aa59d2a86b64c2eff63564c649b3d35de";

describe("wrapped value", () => {
  it("writes and reads the worked example", () => {
    expect(Buffer.from(wrapValue(key, "logical/a", Buffer.from("hello"), nonce)).toString("hex")).toBe(EXAMPLE);
    expect(unwrapValue(key, "logical/a", Buffer.from(EXAMPLE, "hex"))?.toString()).toBe("hello");
  });

  it("does not open at another storage key, when any one bit is flipped, or when it is cut short", () => {
    const wrapped = Buffer.from(EXAMPLE, "hex");
    expect(unwrapValue(key, "logical/b", wrapped)).toBeUndefined();
    for (let bit = 0; bit < wrapped.length * 8; bit++) {
      const changed = Buffer.from(wrapped);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(unwrapValue(key, "logical/a", changed)).toBeUndefined();
    }
    for (let length = 0; length < wrapped.length; length++)
      expect(unwrapValue(key, "logical/a", wrapped.subarray(0, length))).toBeUndefined();
  });
});
