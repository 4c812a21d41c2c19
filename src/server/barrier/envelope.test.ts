import { createSecretKey } from "node:crypto";
import { describe, expect, it } from "vitest";
import { ENVELOPE_BYTES, envelopeTerm, openEnvelope, sealEnvelope } from "./envelope.ts";

const key = createSecretKey(Buffer.from("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "hex"));
const nonce = Buffer.from("a0a1a2a3a4a5a6a7a8a9aaab", "hex");
/** The worked example: term 7, storage key "logical/a", plaintext "hello". */
const EXAMPLE = "0100000007a0a1a2a3a4a5a6a7a8a9aaab8e7d10412a73febe4308cce9ed1d68132ca2a21887";

describe("envelope", () => {
  it("writes the worked example byte by byte", () => {
    const envelope = sealEnvelope(key, 7, "logical/a", Buffer.from("hello"), nonce);
    expect(Buffer.from(envelope).toString("hex")).toBe(EXAMPLE);
    expect(EXAMPLE.slice(0, 34)).toBe(`0100000007${nonce.toString("hex")}`);
  });

  it("reads the worked example", () => {
    const envelope = Buffer.from(EXAMPLE, "hex");
    expect(envelopeTerm(envelope)).toBe(7);
    expect(openEnvelope(key, "logical/a", envelope)?.toString()).toBe("hello");
  });

  it.each([0, 1, 16, 5000])("gives back a plaintext of %i bytes", (length) => {
    const plaintext = Buffer.alloc(length, 0x5a);
    const envelope = sealEnvelope(key, 1, "k", plaintext);
    expect(envelope.length).toBe(length + ENVELOPE_BYTES);
    expect(openEnvelope(key, "k", envelope)).toEqual(plaintext);
  });

  it("does not open at another storage key or under another key", () => {
    const envelope = sealEnvelope(key, 1, "a", Buffer.from("x"));
    expect(openEnvelope(key, "b", envelope)).toBeUndefined();
    expect(openEnvelope(createSecretKey(Buffer.alloc(32)), "a", envelope)).toBeUndefined();
  });

  it("does not open when any one bit is flipped, but for the term, which only names the key", () => {
    const envelope = Buffer.from(EXAMPLE, "hex");
    for (let bit = 0; bit < envelope.length * 8; bit++) {
      const byte = bit >> 3;
      if (byte >= 1 && byte < 5) continue;
      const changed = Buffer.from(envelope);
      changed[byte] = (changed[byte] ?? 0) ^ (1 << (bit & 7));
      expect(openEnvelope(key, "logical/a", changed)).toBeUndefined();
    }
  });

  it("does not open when cut short at any length", () => {
    const envelope = Buffer.from(EXAMPLE, "hex");
    for (let length = 0; length < envelope.length; length++) {
      expect(openEnvelope(key, "logical/a", envelope.subarray(0, length))).toBeUndefined();
    }
    expect(envelopeTerm(envelope.subarray(0, ENVELOPE_BYTES - 1))).toBeUndefined();
  });

  it("takes a fresh nonce each time", () => {
    const one = sealEnvelope(key, 1, "k", Buffer.from("same"));
    expect(sealEnvelope(key, 1, "k", Buffer.from("same"))).not.toEqual(one);
  });
});
