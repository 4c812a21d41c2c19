import { createServer, connect as tlsConnect } from "node:tls";
import { describe, expect, it } from "vitest";
import { FakeClock, systemClock } from "./clock.ts";
import {
  type CertificatePair,
  COMMON_NAME_CHARACTERS_MAX,
  createCertificateAuthority,
  isPair,
  isSignedBy,
  issueServerCertificate,
  readCertificate,
  SUBJECT_NAMES_MAX,
  splitCertificates,
} from "./x509.ts";

const DAY = 86_400_000;

/** What a TLS client that trusts only `ca` and expects `servername` says of a server with this certificate. */
async function handshake(pair: CertificatePair, ca: string, servername: string): Promise<string> {
  const server = createServer({ cert: pair.certificatePem, key: pair.privateKeyPem.expose() });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  try {
    return await new Promise((resolve) => {
      const socket = tlsConnect({ port, host: "127.0.0.1", ca, servername }, () => {
        socket.end();
        resolve("trusted");
      });
      socket.on("error", (error) => resolve("code" in error ? String(error.code) : error.message));
    });
  } finally {
    server.close();
  }
}

describe("certificates", () => {
  it("are accepted by a TLS client that trusts the authority, for their names only", async () => {
    const ca = await createCertificateAuthority({ commonName: "test CA", days: 10, clock: systemClock });
    const options = { commonName: "x", dnsNames: ["a.example", "*.b.example"], days: 1, clock: systemClock };
    const pair = await issueServerCertificate(ca, options);
    expect(await handshake(pair, ca.certificatePem, "a.example")).toBe("trusted");
    expect(await handshake(pair, ca.certificatePem, "c.b.example")).toBe("trusted");
    expect(await handshake(pair, ca.certificatePem, "c.example")).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
    const other = await createCertificateAuthority({ commonName: "other CA", days: 10, clock: systemClock });
    expect(await handshake(pair, other.certificatePem, "a.example")).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  });
  it("name addresses too", async () => {
    const ca = await createCertificateAuthority({ commonName: "test CA", days: 10, clock: systemClock });
    const options = { commonName: "x", ipAddresses: ["127.0.0.1", "::1"], days: 1, clock: systemClock };
    const pair = await issueServerCertificate(ca, options);
    expect(await handshake(pair, ca.certificatePem, "")).toBe("trusted");
  });
  it("carry times from the clock, fresh serials and their role", async () => {
    const clock = new FakeClock();
    const ca = await createCertificateAuthority({ commonName: "test CA", days: 10, clock });
    const leaf = await issueServerCertificate(ca, { commonName: "x", dnsNames: ["x"], days: 1, clock });
    const [facts, caFacts] = [readCertificate(leaf.certificatePem), readCertificate(ca.certificatePem)];
    expect(facts).toMatchObject({ commonName: "x", isAuthority: false, notAfter: clock.now() + DAY });
    expect(facts.notBefore).toBe(clock.now() - 300_000);
    expect(caFacts).toMatchObject({ commonName: "test CA", isAuthority: true, notAfter: clock.now() + 10 * DAY });
    expect(facts.serial).toMatch(/^[4-7][0-9a-f]{31}$/);
    expect(facts.serial).not.toBe(caFacts.serial);
    expect(facts.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  });
  it("tell who signed them and which key is theirs", async () => {
    const clock = new FakeClock();
    const ca = await createCertificateAuthority({ commonName: "CA", days: 10, clock });
    const impostor = await createCertificateAuthority({ commonName: "CA", days: 10, clock });
    const leaf = await issueServerCertificate(ca, { commonName: "x", dnsNames: ["x"], days: 1, clock });
    expect(isSignedBy(leaf.certificatePem, ca.certificatePem)).toBe(true);
    expect(isSignedBy(leaf.certificatePem, impostor.certificatePem)).toBe(false);
    expect(isPair(leaf)).toBe(true);
    expect(isPair({ ...leaf, privateKeyPem: ca.privateKeyPem })).toBe(false);
  });
  it("come out of a bundle one by one", async () => {
    const clock = new FakeClock();
    const a = await createCertificateAuthority({ commonName: "A", days: 10, clock });
    const b = await createCertificateAuthority({ commonName: "B", days: 10, clock });
    expect(splitCertificates(`# one\n${a.certificatePem}\n${b.certificatePem}`)).toEqual([
      a.certificatePem,
      b.certificatePem,
    ]);
    expect(splitCertificates("nothing")).toEqual([]);
  });
  it("are refused with wrong names, lifetimes and texts", async () => {
    const clock = new FakeClock();
    const name = (characters: number) => "n".repeat(characters);
    const ca = await createCertificateAuthority({ commonName: name(COMMON_NAME_CHARACTERS_MAX), days: 10, clock });
    const issue = (options: object) => issueServerCertificate(ca, { commonName: "x", days: 1, clock, ...options });
    await expect(
      createCertificateAuthority({ commonName: name(COMMON_NAME_CHARACTERS_MAX + 1), days: 1, clock }),
    ).rejects.toThrow("commonName");
    await expect(issue({})).rejects.toThrow("names");
    await expect(issue({ dnsNames: ["a b"] })).rejects.toThrow("DNS name");
    await expect(issue({ ipAddresses: ["1.2.3"] })).rejects.toThrow("address");
    await expect(issue({ dnsNames: ["a"], days: 0 })).rejects.toThrow("days");
    const many = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`);
    expect((await issue({ dnsNames: many(SUBJECT_NAMES_MAX) })).certificatePem).toContain("BEGIN CERTIFICATE");
    await expect(issue({ dnsNames: many(SUBJECT_NAMES_MAX + 1) })).rejects.toThrow("names");
    expect(() => readCertificate("nonsense")).toThrow("PEM");
  });
});
