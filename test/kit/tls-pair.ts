// Certificates for tests of TLS: an authority, server certificates of it for localhost, and client certificates. Uses
// the same library as the product, with what the product never makes (client certificates).
import { createPrivateKey, randomBytes, webcrypto } from "node:crypto";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { systemClock } from "#common/clock.ts";
import { createCertificateAuthority, issueServerCertificate } from "#common/x509.ts";

export interface PemPair {
  readonly cert: string;
  readonly key: string;
}

export interface TestAuthority extends PemPair {
  /** For localhost and 127.0.0.1; the common name tells certificates apart. */
  server(commonName: string): Promise<PemPair>;
  client(commonName: string): Promise<PemPair>;
}

const DAYS = 2;
const DAY_MILLIS = 86_400_000;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" };

export async function createTestAuthority(): Promise<TestAuthority> {
  const authority = await createCertificateAuthority({ commonName: "test", days: DAYS, clock: systemClock });
  const own = { cert: authority.certificatePem, key: authority.privateKeyPem.expose().toString("latin1") };
  return {
    ...own,
    async server(commonName) {
      const pair = await issueServerCertificate(authority, {
        commonName,
        dnsNames: ["localhost"],
        ipAddresses: ["127.0.0.1"],
        days: DAYS,
        clock: systemClock,
      });
      return { cert: pair.certificatePem, key: pair.privateKeyPem.expose().toString("latin1") };
    },
    client: (commonName) => createClientCertificate(own, commonName),
  };
}

async function createClientCertificate(authority: PemPair, commonName: string): Promise<PemPair> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const pkcs8 = createPrivateKey(authority.key).export({ type: "pkcs8", format: "der" });
  const signingKey = await webcrypto.subtle.importKey("pkcs8", pkcs8, ALGORITHM, false, ["sign"]);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: `CN=${commonName}`,
    issuer: new x509.X509Certificate(authority.cert).subject,
    serialNumber: `01${randomBytes(15).toString("hex")}`,
    notBefore: new Date(systemClock.now() - DAY_MILLIS),
    notAfter: new Date(systemClock.now() + DAYS * DAY_MILLIS),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])],
  });
  const key = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  return {
    cert: certificate.toString("pem"),
    key: createPrivateKey({ key, format: "der", type: "pkcs8" }).export({ type: "pkcs8", format: "pem" }).toString(),
  };
}
