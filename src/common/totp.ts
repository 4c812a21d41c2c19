// One-time passwords by time: RFC 6238 over RFC 4226, and the texts by which authenticator apps learn a key (base32 of
// RFC 4648, otpauth URLs). Pure.
import { createHmac, type KeyObject } from "node:crypto";

export const TOTP_ALGORITHMS = ["SHA1", "SHA256", "SHA512"] as const;

export interface TotpSettings {
  readonly algorithm: (typeof TOTP_ALGORITHMS)[number];
  readonly digits: number;
  readonly periodSeconds: number;
}

/** The number of the period that a time lies in. */
export function totpCounter(settings: TotpSettings, atSeconds: number): number {
  return Math.floor(atSeconds / settings.periodSeconds);
}

/** The code of a period. */
export function totpCode(key: KeyObject, settings: TotpSettings, counter: number): string {
  const message = Buffer.alloc(8);
  message.writeBigUInt64BE(BigInt(counter));
  const digest = createHmac(settings.algorithm.toLowerCase(), key).update(message).digest();
  // RFC 4226 section 5.3: the last half byte says where four bytes are taken; the top bit is dropped.
  const offset = (digest.at(-1) ?? 0) & 0xf;
  const number = digest.readUInt32BE(offset) & 0x7fffffff;
  return String(number % 10 ** settings.digits).padStart(settings.digits, "0");
}

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** Without padding, as authenticator apps take it. */
export function base32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32[(value >>> (bits - 5)) & 31];
  }
  return bits > 0 ? text + BASE32[(value << (5 - bits)) & 31] : text;
}

/** What a QR code shows to an authenticator app. */
export function otpauthUrl(
  secret: Uint8Array,
  settings: TotpSettings,
  names: { readonly issuer: string; readonly account: string },
): string {
  const query = [
    ["algorithm", settings.algorithm],
    ["digits", String(settings.digits)],
    ["issuer", names.issuer],
    ["period", String(settings.periodSeconds)],
    ["secret", base32(secret)],
  ].map(([name, value]) => `${name}=${encodeURIComponent(value ?? "")}`);
  const label = `${encodeURIComponent(names.issuer)}:${encodeURIComponent(names.account)}`;
  return `otpauth://totp/${label}?${query.join("&")}`;
}
