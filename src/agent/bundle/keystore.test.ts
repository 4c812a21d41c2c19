// Keystores read by others than who wrote them: openssl and Java's keytool where the machine has them, and Node itself.
import { execFileSync } from "node:child_process";
import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestAuthority, type PemPair, type TestAuthority } from "#test/kit/tls-pair.ts";
import { type KeystoreInput, renderKeystore } from "./keystore.ts";

const PASSWORD = "s3cret pass ~";
let folder: string;
let authority: TestAuthority;
let pair: PemPair;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "coffer-keystore-"));
  authority = await createTestAuthority();
  pair = await authority.server("keystore");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function input(format: "PKCS12" | "JKS", change: Partial<KeystoreInput> = {}): KeystoreInput {
  return {
    format,
    source: "tls",
    keystore: { certificate: "certificate", privateKey: "private_key", alias: "App", password: { key: "password" } },
    data: { certificate: pair.cert, private_key: pair.key, ca_chain: [authority.cert] },
    passwordData: { password: PASSWORD },
    ...change,
  };
}

function saved(name: string, bytes: Buffer): string {
  const file = join(folder, name);
  writeFileSync(file, bytes);
  return file;
}

function has(program: string, ...words: string[]): boolean {
  try {
    execFileSync(program, words, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const der = (pem: string) => createPrivateKey(pem).export({ type: "pkcs8", format: "der" });
const fingerprint = (pem: string) => new X509Certificate(pem).fingerprint256;

describe("PKCS #12", () => {
  it("opens in Node's own TLS, with its password alone", () => {
    const pfx = renderKeystore(input("PKCS12"));
    expect(() => createSecureContext({ pfx, passphrase: PASSWORD })).not.toThrow();
    expect(() => createSecureContext({ pfx, passphrase: "other" })).toThrow(/mac verify failure/i);
    const broken = Buffer.from(pfx);
    broken[200] = (broken[200] ?? 0) ^ 1;
    expect(() => createSecureContext({ pfx: broken, passphrase: PASSWORD })).toThrow();
  });

  it.skipIf(!has("openssl", "version"))("opens in openssl: key, certificate, chain and name", () => {
    const file = saved("a.p12", renderKeystore(input("PKCS12")));
    const read = (...words: string[]) =>
      execFileSync("openssl", ["pkcs12", "-in", file, "-passin", `pass:${PASSWORD}`, ...words], { encoding: "utf8" });
    expect(der(read("-nodes", "-nocerts"))).toEqual(der(pair.key));
    expect(fingerprint(read("-nokeys", "-clcerts"))).toBe(fingerprint(pair.cert));
    expect(fingerprint(read("-nokeys", "-cacerts"))).toBe(fingerprint(authority.cert));
    expect(read("-nokeys", "-clcerts")).toContain("friendlyName: App");
  });

  it("is the same at each refresh, and another for another password", () => {
    const bytes = renderKeystore(input("PKCS12"));
    expect(renderKeystore(input("PKCS12"))).toEqual(bytes);
    expect(renderKeystore(input("PKCS12", { passwordData: { password: "other" } }))).not.toEqual(bytes);
  });

  it("does without a chain, takes the issuer's certificate for one, and the same certificate once", () => {
    const { certificate, private_key } = input("PKCS12").data;
    const size = (more: object) =>
      renderKeystore(
        input("PKCS12", { data: { certificate: certificate ?? "", private_key: private_key ?? "", ...more } }),
      ).length;
    const alone = size({});
    expect(size({ issuing_ca: authority.cert })).toBeGreaterThan(alone);
    expect(size({ ca_chain: [authority.cert, authority.cert] })).toBe(size({ issuing_ca: authority.cert }));
  });
});

describe("JKS", () => {
  it("protects the key as the format says, read by the rules of the format", () => {
    const bytes = renderKeystore(input("JKS"));
    const secret = Buffer.from(PASSWORD, "utf16le").swap16();
    const digest = createHash("sha1").update(secret).update("Mighty Aphrodite").update(bytes.subarray(0, -20)).digest();
    expect(digest).toEqual(bytes.subarray(-20));
    expect(readJksKey(bytes, secret)).toEqual(der(pair.key));
    expect(renderKeystore(input("JKS"))).toEqual(bytes);
  });
});

/** The private key of a JKS file with one entry. */
function readJksKey(bytes: Buffer, secret: Buffer): Buffer {
  const alias = bytes.readUInt16BE(16);
  const at = 18 + alias + 8;
  const info = bytes.subarray(at + 4, at + 4 + bytes.readUInt32BE(at));
  // SEQUENCE { SEQUENCE { OID, NULL }, OCTET STRING }; the inner one is short.
  const algorithm = headerOf(info, 0);
  const protectedAt = algorithm + 2 + (info[algorithm + 1] ?? 0);
  const octets = info.subarray(protectedAt + headerOf(info, protectedAt));
  const hidden = octets.subarray(20, -20);
  let block = octets.subarray(0, 20);
  const key = Buffer.alloc(hidden.length);
  for (let i = 0; i < hidden.length; i += 20) {
    block = createHash("sha1").update(secret).update(block).digest();
    for (let j = i; j < Math.min(i + 20, hidden.length); j++) key[j] = (hidden[j] ?? 0) ^ (block[j - i] ?? 0);
  }
  expect(createHash("sha1").update(secret).update(key).digest()).toEqual(octets.subarray(-20));
  return key;
}

function headerOf(bytes: Buffer, at: number): number {
  const length = bytes[at + 1] ?? 0;
  return length < 0x80 ? 2 : 2 + (length & 0x7f);
}

describe("what does not fit together", () => {
  it.each<[string, () => Partial<KeystoreInput>, string]>([
    ["no key", () => ({ data: { certificate: pair.cert } }), 'the source "tls" has no key "private_key"'],
    ["no password", () => ({ passwordData: {} }), 'the source "tls" has no key "password"'],
    ["another key", () => ({ data: { certificate: authority.cert, private_key: pair.key } }), "of another private key"],
    ["no PEM", () => ({ data: { certificate: "hush", private_key: pair.key } }), "holds no certificate in PEM"],
    [
      "a key that is none",
      () => ({ data: { certificate: pair.cert, private_key: "hush" } }),
      "private key cannot be read",
    ],
    ["an empty password", () => ({ passwordData: { password: "" } }), "printable characters of ASCII"],
    ["a password of other letters", () => ({ passwordData: { password: "hüsh" } }), "printable characters of ASCII"],
  ])("%s", (_what, change, message) => {
    for (const format of ["PKCS12", "JKS"] as const) {
      expect(() => renderKeystore(input(format, change()))).toThrow(message);
      expect(() => renderKeystore(input(format, change()))).not.toThrow(/h.sh/);
    }
  });
});
