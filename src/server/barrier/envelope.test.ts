import { createSecretKey } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  ENVELOPE_BYTES,
  envelopeHead,
  envelopeTerm,
  openBytes,
  openEnvelope,
  sealBytes,
  sealEnvelope,
  sealWrappedEnvelope,
} from "./envelope.ts";

const key = createSecretKey(Buffer.from("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "hex"));
const nonce = Buffer.from("a0a1a2a3a4a5a6a7a8a9aaab", "hex");
/** The worked example: term 7, storage key "logical/a", plaintext "hello". */
const EXAMPLE = "0100000007a0a1a2a3a4a5a6a7a8a9aaab8e7d10412a73febe4308cce9ed1d68132ca2a21887";
/** The same with the seal's layer of generation 3 inside; made by another program (Python's cryptography). */
const WRAPPED_EXAMPLE = "020000000700000003a0a1a2a3a4a5a6a7a8a9aaab8e7d10412a57ab17e161d3685a39645c0671345b23";

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

describe("envelope of a wrapped value", () => {
  const head = { term: 7, generation: 3 };

  it("writes and reads the worked example", () => {
    const envelope = sealWrappedEnvelope(key, head, "logical/a", Buffer.from("hello"), nonce);
    expect(Buffer.from(envelope).toString("hex")).toBe(WRAPPED_EXAMPLE);
    expect(WRAPPED_EXAMPLE.slice(0, 42)).toBe(`020000000700000003${nonce.toString("hex")}`);
    expect(envelopeHead(Buffer.from(WRAPPED_EXAMPLE, "hex"))).toEqual(head);
    expect(openEnvelope(key, "logical/a", Buffer.from(WRAPPED_EXAMPLE, "hex"))?.toString()).toBe("hello");
  });

  it("does not open at another storage key, or when any one bit is flipped", () => {
    const envelope = Buffer.from(WRAPPED_EXAMPLE, "hex");
    expect(openEnvelope(key, "logical/b", envelope)).toBeUndefined();
    for (let bit = 0; bit < envelope.length * 8; bit++) {
      const changed = Buffer.from(envelope);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(openEnvelope(key, "logical/a", changed)).toBeUndefined();
    }
  });

  it("is told from one without the layer, and is nothing when cut short", () => {
    expect(envelopeHead(Buffer.from(EXAMPLE, "hex"))).toEqual({ term: 7, generation: undefined });
    const envelope = Buffer.from(WRAPPED_EXAMPLE, "hex");
    for (let length = 0; length < envelope.length; length++)
      expect(openEnvelope(key, "logical/a", envelope.subarray(0, length))).toBeUndefined();
  });
});

/** Cases 13 to 16 (AES-256, nonce of 96 bits) of McGrew and Viega's specification of GCM, which NIST took over. */
describe("AES-GCM", () => {
  const zero = "00".repeat(32);
  const long =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
  const sealed =
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
  const doubled = "feffe9928665731c6d6a8f9467308308".repeat(2);
  const iv = "cafebabefacedbaddecaf888";
  const aad = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
  const cut = (hex: string) => hex.slice(0, 120);
  it.each([
    [13, zero, "00".repeat(12), "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"],
    [
      14,
      zero,
      "00".repeat(12),
      "",
      "00".repeat(16),
      "cea7403d4d606b6e074ec5d3baf39d18",
      "d0d1c8a799996bf0265b98b5d48ab919",
    ],
    [15, doubled, iv, "", long, sealed, "b094dac5d93471bdec1a502270e3cc6c"],
    [16, doubled, iv, aad, cut(long), cut(sealed), "76fc6ece0f4e1768cddf8853bb2d551b"],
  ])("gives what case %i says", (_case, keyHex, nonceHex, additional, plain, ciphertext, tag) => {
    const hex = (text: string) => Buffer.from(text, "hex");
    const caseKey = createSecretKey(hex(keyHex));
    const out = sealBytes(caseKey, Buffer.alloc(0), hex(additional), hex(plain), hex(nonceHex));
    expect(out.toString("hex")).toBe(nonceHex + ciphertext + tag);
    expect(openBytes(caseKey, 0, hex(additional), out)?.toString("hex")).toBe(plain);
  });
});
