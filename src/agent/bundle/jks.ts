// A Java KeyStore of the old format JKS, version 2, with one private key, for programs that take nothing else. All
// numbers have the greater byte first:
//
//   FEEDFEED | 2 (4) | entries (4) | 1, a private key (4) | alias (UTF) | milliseconds (8)
//            | length (4) | EncryptedPrivateKeyInfo | certificates (4) | for each: "X.509" (UTF) | length (4) | DER
//            | SHA-1 of password, "Mighty Aphrodite" and all of this (20)
//
// Its protection of keys (SHA-1 as a stream cipher, OID 1.3.6.1.4.1.42.2.17.1.1) is as old as it sounds; the format is
// open in OpenJDK's sun.security.provider.JavaKeyStore and KeyProtector. Java reads PKCS #12 in its place since 8u60.
import { createHash } from "node:crypto";
import { bmpBytes, der } from "./der.ts";
import { checkPassword, type KeyMaterial, saltOf } from "./key-material.ts";

const MAGIC = 0xfeedfeed;
const VERSION = 2;
const PRIVATE_KEY = 1;
const SALT_BYTES = 20;
const WHITENER = "Mighty Aphrodite";
const KEY_PROTECTOR = "1.3.6.1.4.1.42.2.17.1.1";

/** Throws `invalid_request` for a password that cannot be used. The same input gives the same bytes. */
export function jksOf(material: KeyMaterial, password: string, alias: string): Buffer {
  checkPassword(password);
  const protectedKey = der.sequence(
    der.sequence(der.oid(KEY_PROTECTOR), der.nothing()),
    der.octets(protect(material, password)),
  );
  const body = Buffer.concat([
    ...[number(MAGIC), number(VERSION), number(1), number(PRIVATE_KEY)],
    // Java looks for names in small letters.
    ...[utf(alias.toLowerCase()), long(material.from.getTime()), number(protectedKey.length), protectedKey],
    number(material.certificates.length),
    ...material.certificates.flatMap((each) => [utf("X.509"), number(each.length), each]),
  ]);
  const digest = createHash("sha1").update(bmpBytes(password)).update(WHITENER).update(body).digest();
  return Buffer.concat([body, digest]);
}

/** salt | key XOR stream | SHA-1 of password and key; the stream is SHA-1 of the password and what came before. */
function protect(material: KeyMaterial, password: string): Buffer {
  const secret = bmpBytes(password);
  const salt = saltOf(material, password, "jks", SALT_BYTES);
  const hidden = Buffer.from(material.key);
  let block = salt;
  for (let at = 0; at < hidden.length; at++) {
    if (at % SALT_BYTES === 0) block = createHash("sha1").update(secret).update(block).digest();
    hidden[at] = (hidden[at] ?? 0) ^ (block[at % SALT_BYTES] ?? 0);
  }
  const check = createHash("sha1").update(secret).update(material.key).digest();
  return Buffer.concat([salt, hidden, check]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function long(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** Java's DataOutput: the length in two bytes. ASCII is the same in its own UTF-8. */
function utf(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
