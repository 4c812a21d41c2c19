import { createECDH } from "node:crypto";
import { describe, expect, it } from "vitest";
import { SecretBytes } from "#common/secret-bytes.ts";
import { combine } from "./combine.ts";
import { newEmergencyKey, openEmergency, wrapAgain, wrapForEmergency, wrapWith } from "./emergency.ts";
import { split } from "./split.ts";

const refusal = expect.objectContaining({ fault: "InvalidCiphertext", transient: false });
const bytes = (hex: string) => Buffer.from(hex, "hex");

describe("the emergency set", () => {
  it("opens by shares what was wrapped with the public key", () => {
    using secret = newEmergencyKey();
    using root = SecretBytes.random(32);
    const copy = wrapForEmergency(root, "root-key", { seal: "emergency", secret });
    using again = combine(split(secret, { shares: 5, threshold: 3 }).slice(2), 3);
    using opened = openEmergency(copy, "root-key", again);
    expect(opened.equals(root)).toBe(true);
    expect(copy.keyId).toMatch(/^[0-9a-f]{16}$/);
  });

  it("opens nothing for other shares, for what is no private key, or for another purpose", () => {
    using secret = newEmergencyKey();
    using root = SecretBytes.random(32);
    const copy = wrapForEmergency(root, "root-key", { seal: "emergency", secret });
    using other = newEmergencyKey();
    using zero = new SecretBytes(Buffer.alloc(32));
    using above = new SecretBytes(Buffer.alloc(32, 0xff));
    using short = new SecretBytes(Buffer.alloc(31, 1));
    for (const wrong of [other, zero, above, short])
      expect(() => openEmergency(copy, "root-key", wrong)).toThrow(refusal);
    expect(() => openEmergency(copy, "recovery-key", secret)).toThrow(refusal);
  });

  it("notices every changed byte but those of the proof, which another function looks at", () => {
    using secret = newEmergencyKey();
    using root = SecretBytes.random(32);
    const copy = wrapForEmergency(root, "root-key", { seal: "emergency", secret });
    const blob = Buffer.from(copy.ciphertext, "base64");
    for (let at = 0; at < blob.length; at++) {
      const changed = Buffer.from(blob);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const other = { ...copy, ciphertext: changed.toString("base64") };
      const look =
        at < blob.length - 32
          ? () => openEmergency(other, "root-key", secret)
          : () => wrapAgain(other, root, root, "root-key");
      expect(look).toThrow(refusal);
    }
  });

  it("takes a new root key without its holders, and not for a key that somebody has put in its place", () => {
    using secret = newEmergencyKey();
    using root = SecretBytes.random(32);
    using next = SecretBytes.random(32);
    const copy = wrapForEmergency(root, "root-key", { seal: "emergency", secret });
    using opened = openEmergency(wrapAgain(copy, root, next, "root-key"), "root-key", secret);
    expect(opened.equals(next)).toBe(true);
    using thief = newEmergencyKey();
    using anyKey = SecretBytes.random(32);
    const forged = wrapForEmergency(anyKey, "root-key", { seal: "emergency", secret: thief });
    expect(() => wrapAgain(forged, root, next, "root-key")).toThrow(refusal);
  });

  it("is these bytes (worked example)", () => {
    const pair = createECDH("prime256v1");
    const secret = bytes("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"); // RFC 6979, A.2.5
    pair.setPrivateKey(secret);
    using once = new SecretBytes(Buffer.alloc(32, 1));
    using root = new SecretBytes(Buffer.alloc(32, 2));
    const publicKey = pair.getPublicKey();
    expect(publicKey.toString("hex").slice(2, 66)).toBe(
      "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
    );
    const copy = wrapWith(root, "root-key", { seal: "emergency", publicKey, once, nonce: Buffer.alloc(12, 3) });
    expect(Buffer.from(copy.ciphertext, "base64").toString("hex")).toBe(
      "010460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64" +
        "f2f1b20c2d7e9f5177a3c294d4462299046ff03b949241ce1dadd43519e6960e0a85b41a69a05c328103aa2bce1594ca163c" +
        "4f753a55bf01dc53f6c0b0c7eee78b40c6ff7d25a96e2282b989cef71c144a0303030303030303030303033834caf832c99e" +
        "6bc8289609e2d645694c427aba21f58f45874621007051984d34956c3b05c4d62a6e6649cc9714bc1df388798a3e99eef29e" +
        "4956a97ab8455e923bb7e059e266a8469dac0da8385606",
    );
    using own = new SecretBytes(secret);
    using opened = openEmergency(copy, "root-key", own);
    expect(opened.equals(root)).toBe(true);
  });
});
