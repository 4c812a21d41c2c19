// Stored values as sys/raw shows and takes them: as text or base64, and compressed in the form of Vault's compressutil:
// one byte that names the method, then the compressed bytes. Coffer's own records are never compressed.
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { CofferError, messageOf } from "#common/errors.ts";
import { decodeBase64 } from "./base64-field.ts";

/** "G", followed by gzip's own two bytes: nothing that Coffer stores begins so. */
const GZIP = Buffer.from([0x47, 0x1f, 0x8b]);
/** What a value may come to once it is decompressed: as large as a request may be by default. */
export const RAW_VALUE_BYTES_MAX = 32 * 1024 * 1024;
const ENCODINGS = ["", "base64"];
const COMPRESSIONS = ["", "gzip"];

/** Throws `invalid_request`. */
export function assertRawEncoding(encoding: string): void {
  if (!ENCODINGS.includes(encoding))
    throw invalid(`invalid encoding ${JSON.stringify(encoding)}; use base64, or leave it out for text`);
}

/** Throws `invalid_request` for methods that Node has not (lzw, lz4, snappy) and those that nobody has. */
export function assertRawCompression(type: string): void {
  if (!COMPRESSIONS.includes(type))
    throw invalid(`invalid compression_type ${JSON.stringify(type)}; use gzip, or leave it empty for none`);
}

export function isCompressed(stored: Uint8Array): boolean {
  return Buffer.compare(stored.subarray(0, GZIP.length), GZIP) === 0;
}

/** What is stored, decompressed where it is compressed. Throws `invalid_request` when that fails. */
export async function decompressed(stored: Uint8Array): Promise<Uint8Array> {
  if (!isCompressed(stored)) return stored;
  try {
    return await promisify(gunzip)(stored.subarray(1), { maxOutputLength: RAW_VALUE_BYTES_MAX });
  } catch (cause) {
    throw new CofferError(
      "invalid_request",
      `the value cannot be decompressed (${messageOf(cause)}); ask with compressed=false and encoding=base64`,
      { cause },
    );
  }
}

export async function compressed(value: Uint8Array): Promise<Uint8Array> {
  return Buffer.concat([GZIP.subarray(0, 1), await promisify(gzip)(value)]);
}

/** The bytes of the field `value`. Throws `invalid_request`. */
export function decodeRawValue(value: string, encoding: string): Uint8Array {
  return encoding === "base64" ? decodeBase64(value, "value") : Buffer.from(value, "utf8");
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
