// A PKCS #12 file (RFC 7292) with one private key and its certificates, as OpenSSL 3 and Java's keytool write it:
//   PFX { 3, data { key: PKCS #8 under PBES2 (RFC 8018: PBKDF2 with HMAC-SHA-256, AES-256-CBC), certificates },
//         MAC: HMAC-SHA-256 under a key of RFC 7292 appendix B }
// The certificates, which are no secret, are not encrypted; the MAC covers everything.
import { createCipheriv, createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { bmpBytes, der } from "./der.ts";
import { checkPassword, type KeyMaterial, saltOf } from "./key-material.ts";

/** Java's own number. The password is most often beside the file, so more would only cost the pod time. */
const ITERATIONS = 10_000;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
const IV_BYTES = 16;
const MAC_BYTES = 32;
/** v of RFC 7292 B.2 for SHA-256. */
const HASH_BLOCK_BYTES = 64;
/** "key for a MAC", RFC 7292 B.3. */
const MAC_KEY_ID = 3;

const OID = {
  data: "1.2.840.113549.1.7.1",
  keyBag: "1.2.840.113549.1.12.10.1.2",
  certificateBag: "1.2.840.113549.1.12.10.1.3",
  x509: "1.2.840.113549.1.9.22.1",
  friendlyName: "1.2.840.113549.1.9.20",
  localKeyId: "1.2.840.113549.1.9.21",
  pbes2: "1.2.840.113549.1.5.13",
  pbkdf2: "1.2.840.113549.1.5.12",
  hmacSha256: "1.2.840.113549.2.9",
  aes256: "2.16.840.1.101.3.4.1.42",
  sha256: "2.16.840.1.101.3.4.2.1",
} as const;

/** Throws `invalid_request` for a password that cannot be used. The same input gives the same bytes. */
export function pkcs12Of(material: KeyMaterial, password: string, alias: string): Buffer {
  checkPassword(password);
  const [own, ...above] = material.certificates;
  const keyId = createHash("sha256")
    .update(own ?? "")
    .digest()
    .subarray(0, 20);
  const attributes = der.set(
    der.sequence(der.oid(OID.friendlyName), der.set(der.bmp(alias))),
    der.sequence(der.oid(OID.localKeyId), der.set(der.octets(keyId))),
  );
  const keyBag = bag(OID.keyBag, encryptedKey(material, password), attributes);
  const certificateBags = [
    ...(own === undefined ? [] : [certificateBag(own, attributes)]),
    ...above.map((certificate) => certificateBag(certificate)),
  ];
  const safe = der.sequence(content(der.sequence(...certificateBags)), content(der.sequence(keyBag)));
  return der.sequence(der.integer(3), content(safe), macData(material, safe, password));
}

/** ContentInfo of the type "data". */
function content(bytes: Buffer): Buffer {
  return der.sequence(der.oid(OID.data), der.explicit(0, der.octets(bytes)));
}

function bag(type: string, value: Buffer, attributes: Buffer = Buffer.alloc(0)): Buffer {
  return der.sequence(der.oid(type), der.explicit(0, value), attributes);
}

function certificateBag(certificate: Buffer, attributes?: Buffer): Buffer {
  const value = der.sequence(der.oid(OID.x509), der.explicit(0, der.octets(certificate)));
  return bag(OID.certificateBag, value, attributes);
}

/** EncryptedPrivateKeyInfo. */
function encryptedKey(material: KeyMaterial, password: string): Buffer {
  const salt = saltOf(material, password, "pkcs12 key", SALT_BYTES);
  const iv = saltOf(material, password, "pkcs12 iv", IV_BYTES);
  const key = pbkdf2Sync(password, salt, ITERATIONS, KEY_BYTES, "sha256");
  const cipher = createCipheriv("aes-256-cbc", key, iv);
  const encrypted = Buffer.concat([cipher.update(material.key), cipher.final()]);
  key.fill(0);
  const prf = der.sequence(der.oid(OID.hmacSha256), der.nothing());
  const derivation = der.sequence(
    der.oid(OID.pbkdf2),
    der.sequence(der.octets(salt), der.integer(ITERATIONS), der.integer(KEY_BYTES), prf),
  );
  const scheme = der.sequence(der.oid(OID.aes256), der.octets(iv));
  return der.sequence(der.sequence(der.oid(OID.pbes2), der.sequence(derivation, scheme)), der.octets(encrypted));
}

function macData(material: KeyMaterial, safe: Buffer, password: string): Buffer {
  const salt = saltOf(material, password, "pkcs12 mac", SALT_BYTES);
  const mac = createHmac("sha256", macKey(password, salt)).update(safe).digest();
  const digest = der.sequence(der.sequence(der.oid(OID.sha256), der.nothing()), der.octets(mac));
  return der.sequence(digest, der.octets(salt), der.integer(ITERATIONS));
}

/** RFC 7292 B.2, for one block of output, which is all that a key for HMAC-SHA-256 takes. */
function macKey(password: string, salt: Buffer): Buffer {
  const diversifier = Buffer.alloc(HASH_BLOCK_BYTES, MAC_KEY_ID);
  const secret = Buffer.concat([bmpBytes(password), Buffer.from([0, 0])]);
  const input = Buffer.concat([diversifier, repeated(salt), repeated(secret)]);
  let key = createHash("sha256").update(input).digest();
  for (let i = 1; i < ITERATIONS; i++) key = createHash("sha256").update(key).digest();
  return key.subarray(0, MAC_BYTES);
}

/** Over and over, up to whole blocks. */
function repeated(bytes: Buffer): Buffer {
  const length = HASH_BLOCK_BYTES * Math.ceil(bytes.length / HASH_BLOCK_BYTES);
  return Buffer.alloc(length, bytes);
}
