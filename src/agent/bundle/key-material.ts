// What a keystore is made of: a private key, its certificate and the chain, out of the PEM texts of a secret. They must
// belong together; a keystore that no TLS library takes is noticed here, not in the application.
import { createHmac, createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { CofferError, messageOf } from "#common/errors.ts";

export interface KeyMaterial {
  /** PKCS #8, DER. */
  readonly key: Buffer;
  /** DER; the key's own first, then those above it. */
  readonly certificates: readonly Buffer[];
  /** When the certificate begins to be valid, which keystores tell as the entry's date. */
  readonly from: Date;
}

export interface PemTexts {
  readonly certificate: string;
  readonly privateKey: string;
  /** Certificates one after another; "" for none. */
  readonly chain: string;
}

/** More is no chain. */
const CERTIFICATES_MAX = 16;
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
/** What every reader of keystores takes the same bytes for. */
const PASSWORD = /^[\x20-\x7e]{1,1024}$/;

/** Throws `invalid_request`; no message holds anything of the texts. */
export function readKeyMaterial(texts: PemTexts): KeyMaterial {
  const key = readPrivateKey(texts.privateKey);
  const certificates = [...certificatesIn(texts.certificate, "certificate"), ...chainIn(texts.chain)];
  const [own] = certificates;
  if (own === undefined) throw wrong("the certificate is not there");
  if (!own.checkPrivateKey(key)) throw wrong("the certificate is of another private key");
  const distinct = [...new Map(certificates.map((each) => [each.fingerprint256, each.raw])).values()];
  if (distinct.length > CERTIFICATES_MAX) throw wrong(`there are more than ${CERTIFICATES_MAX} certificates`);
  return {
    key: key.export({ type: "pkcs8", format: "der" }),
    certificates: distinct,
    from: new Date(own.validFrom),
  };
}

/** Throws `invalid_request` for a password that readers of keystores take differently. */
export function checkPassword(password: string): void {
  if (!PASSWORD.test(password)) throw wrong("the password must be of 1 to 1024 printable characters of ASCII");
}

/**
 * Bytes for salts, the same for the same content: a keystore that differed at each refresh would be written, and
 * applications be told, for nothing. Without key and password nobody can tell or repeat them (as in RFC 8452's idea).
 */
export function saltOf(material: KeyMaterial, password: string, use: string, length: number): Buffer {
  const mac = createHmac("sha512", material.key).update(`${use}\0${password}\0`);
  for (const certificate of material.certificates) mac.update(certificate);
  return mac.digest().subarray(0, length);
}

function readPrivateKey(text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    throw wrong("the private key cannot be read: it must be in PEM and not encrypted");
  }
}

function chainIn(text: string): readonly X509Certificate[] {
  return text.trim() === "" ? [] : certificatesIn(text, "chain");
}

function certificatesIn(text: string, what: string): readonly X509Certificate[] {
  const found = text.match(PEM_CERTIFICATE) ?? [];
  if (found.length === 0) throw wrong(`the ${what} holds no certificate in PEM`);
  try {
    return found.map((pem) => new X509Certificate(pem));
  } catch (cause) {
    throw wrong(`the ${what} cannot be read: ${messageOf(cause)}`);
  }
}

function wrong(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
