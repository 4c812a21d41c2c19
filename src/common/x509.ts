// Makes the certificates that Coffer gives itself: a small authority and server certificates signed by it, all P-256.
// For the development listener, the operator's clusters and the webhooks; what the pki engine issues is its own affair.
// The library is loaded at the first use, since it takes 0.2 s and 20 MiB (docs/adr/0003-x509-library.md).
// Format: RFC 5280; names are checked by clients against the subject alternative names only (RFC 6125, RFC 9525).
import { createPrivateKey, type KeyObject, randomBytes, type webcrypto, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { Clock, Millis } from "./clock.ts";
import { CofferError } from "./errors.ts";
import { SecretBytes } from "./secret-bytes.ts";

/** A certificate with its key. */
export interface CertificatePair {
  readonly certificatePem: string;
  /** PKCS #8 in PEM, as bytes: `privateKeyPem.expose()` can be given to node:tls. */
  readonly privateKeyPem: SecretBytes;
}

export interface CertificateFacts {
  readonly commonName: string;
  /** Lower-case hexadecimal. */
  readonly serial: string;
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  readonly isAuthority: boolean;
  /** Of the whole certificate, SHA-256, lower-case hexadecimal. */
  readonly fingerprint: string;
}

export interface AuthorityOptions {
  readonly commonName: string;
  readonly days: number;
  readonly clock: Clock;
}
export interface ServerCertificateOptions {
  readonly commonName: string;
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly days: number;
  readonly clock: Clock;
  /** What it is for; a server when absent. One for a client alone may be without names. */
  readonly usages?: readonly ("server" | "client")[];
}

const DAY_MILLIS: Millis = 86_400_000;
/** Certificates are valid from a little earlier, for clients whose clocks are behind. */
const CLOCK_SKEW_MILLIS: Millis = 300_000;
/** Positive and within the 20 octets of RFC 5280 4.1.2.2; 16 random octets as the CA/Browser Forum more than asks for. */
const SERIAL_BYTES = 16;
/** RFC 5280 A.1, ub-common-name. */
export const COMMON_NAME_CHARACTERS_MAX = 64;
/** More names than any of our own servers has. */
export const SUBJECT_NAMES_MAX = 100;
const DNS_NAME = /^(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;
const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNING_ALGORITHM = { name: "ECDSA", hash: "SHA-256" } as const;

/** Makes a self-signed authority that can sign server certificates and nothing below it. Throws `invalid_request`. */
export async function createCertificateAuthority(options: AuthorityOptions): Promise<CertificatePair> {
  assertCommonName(options.commonName);
  const x509 = await loadLibrary();
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity(options.days, options.clock),
    serialNumber: newSerial(),
    name: [{ CN: [options.commonName] }],
    keys,
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return pairOf(certificate.toString("pem"), keys.privateKey);
}

/** Makes a certificate signed by the authority, for a server unless told. Throws `invalid_request` when a name is none. */
export async function issueServerCertificate(
  authority: CertificatePair,
  options: ServerCertificateOptions,
): Promise<CertificatePair> {
  assertCommonName(options.commonName);
  const names = subjectNames(options);
  const { usages = ["server"] } = options;
  const x509 = await loadLibrary();
  const keys = await newKeys();
  const issuer = new x509.X509Certificate(authority.certificatePem);
  const certificate = await x509.X509CertificateGenerator.create({
    ...validity(options.days, options.clock),
    serialNumber: newSerial(),
    subject: [{ CN: [options.commonName] }],
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey: privateKeyOf(authority).toCryptoKey(KEY_ALGORITHM, false, ["sign"]),
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages.map((usage) => x509.ExtendedKeyUsage[`${usage}Auth`])),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return pairOf(certificate.toString("pem"), keys.privateKey);
}

/** Reads the first certificate of a PEM text. Throws `invalid_request`. */
export function readCertificate(pem: string): CertificateFacts {
  const certificate = parse(pem);
  return {
    commonName: /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? "",
    serial: certificate.serialNumber.toLowerCase(),
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
    isAuthority: certificate.ca,
    fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
  };
}

/** The certificates of a PEM bundle, one PEM text each, without what stands between them. */
export function splitCertificates(bundle: string): readonly string[] {
  const found = bundle.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? [];
  return found.map((pem) => `${pem}\n`);
}

/** True when the certificate was signed by the authority and the pair's key is its own. */
export function isSignedBy(certificatePem: string, authorityPem: string): boolean {
  const authority = parse(authorityPem);
  const certificate = parse(certificatePem);
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

/** True when the private key belongs to the certificate. */
export function isPair(pair: CertificatePair): boolean {
  return parse(pair.certificatePem).checkPrivateKey(privateKeyOf(pair));
}

async function loadLibrary() {
  // Its dependency tsyringe refuses to load without this polyfill.
  await import("reflect-metadata");
  return import("@peculiar/x509");
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
}

async function pairOf(certificatePem: string, key: webcrypto.CryptoKey): Promise<CertificatePair> {
  using der = new SecretBytes(new Uint8Array(await crypto.subtle.exportKey("pkcs8", key)));
  const pem = createPrivateKey({ key: der.expose(), format: "der", type: "pkcs8" }).export({
    format: "pem",
    type: "pkcs8",
  });
  return { certificatePem: `${certificatePem.trim()}\n`, privateKeyPem: new SecretBytes(Buffer.from(pem)) };
}

function privateKeyOf(pair: CertificatePair): KeyObject {
  try {
    return createPrivateKey(pair.privateKeyPem.expose());
  } catch {
    // The cause is left out: OpenSSL's texts may quote what they read.
    throw new CofferError("invalid_request", "the private key is no unencrypted PEM key");
  }
}

function parse(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new CofferError("invalid_request", "the certificate is not valid PEM", { cause: error });
  }
}

function validity(days: number, clock: Clock): { notBefore: Date; notAfter: Date } {
  if (!(days > 0 && days <= 36_500)) throw new CofferError("invalid_request", "days must be above 0 and at most 36500");
  const now = clock.now();
  return { notBefore: new Date(now - CLOCK_SKEW_MILLIS), notAfter: new Date(now + days * DAY_MILLIS) };
}

function newSerial(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  // The first bit clear keeps it positive, the second set keeps it from being shorter than said.
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function assertCommonName(name: string): void {
  if (name === "" || name.length > COMMON_NAME_CHARACTERS_MAX)
    throw new CofferError("invalid_request", `commonName must have 1 to ${COMMON_NAME_CHARACTERS_MAX} characters`);
}

function subjectNames({ dnsNames = [], ipAddresses = [], usages = ["server"] }: ServerCertificateOptions) {
  const count = dnsNames.length + ipAddresses.length;
  if ((count === 0 && usages.includes("server")) || count > SUBJECT_NAMES_MAX)
    throw new CofferError("invalid_request", `a server certificate needs 1 to ${SUBJECT_NAMES_MAX} names`);
  const badName = dnsNames.find((name) => name.length > 253 || !DNS_NAME.test(name));
  if (badName !== undefined) throw new CofferError("invalid_request", `dnsNames: ${badName} is no DNS name`);
  const badAddress = ipAddresses.find((address) => isIP(address) === 0);
  if (badAddress !== undefined) throw new CofferError("invalid_request", `ipAddresses: ${badAddress} is no address`);
  return [
    ...dnsNames.map((value) => ({ type: "dns" as const, value })),
    ...ipAddresses.map((value) => ({ type: "ip" as const, value })),
  ];
}
