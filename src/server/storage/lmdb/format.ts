// The bytes of an LMDB store and the checks when one is opened. The environment (data.mdb, lock.mdb) has:
//
//   main database    "format"    JSON { "format": "coffer", "version": 1 }
//                    "version"   8 bytes, big-endian: the version given to the last commit; never goes back
//                    "entries"   the named database below
//   "entries"        key: the storage key in UTF-8
//                    value: 8 bytes version of the commit that wrote it, big-endian | the value
//
// A store of a newer format is refused. A worked example is in format.test.ts.
import { CofferError } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import { number, object, string } from "#common/schema.ts";

export const ENTRIES = "entries";
export const FORMAT_KEY = "format";
export const VERSION_KEY = "version";
/** What stands before a value. */
export const VERSION_BYTES = 8;

const FORMAT = { format: "coffer", version: 1 };
const formatSchema = object({ format: string, version: number });

export const formatRecord = (): Buffer => Buffer.from(JSON.stringify(FORMAT));

/** Throws `invalid_request` unless the record is of a format that this program reads. */
export function assertFormat(record: Uint8Array, path: string): void {
  let found: { format: string; version: number };
  try {
    found = formatSchema.parse(parseJson(Buffer.from(record).toString("utf8")));
  } catch (cause) {
    throw foreign(path, cause);
  }
  if (found.format !== FORMAT.format) throw foreign(path);
  if (found.version > FORMAT.version)
    throw new CofferError(
      "invalid_request",
      `the store in ${path} has format ${found.version} and this program reads up to ${FORMAT.version}; use a newer one`,
    );
}

export function foreign(path: string, cause?: unknown): CofferError {
  const message = `the directory ${path} holds data of another program; choose an empty directory for storage`;
  return new CofferError("invalid_request", message, { cause });
}

export function encodeVersion(version: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(VERSION_BYTES);
  bytes.writeBigUInt64BE(version);
  return bytes;
}

/** A value as it is stored. */
export function encodeEntry(version: bigint, value: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(VERSION_BYTES + value.length);
  bytes.writeBigUInt64BE(version);
  bytes.set(value, VERSION_BYTES);
  return bytes;
}

/** Keys as plain UTF-8, so that they are ordered by their bytes, as every backend orders them. */
export const keyEncoder = {
  writeKey: (key: string, target: Buffer, start: number): number => start + target.write(key, start, "utf8"),
  readKey: (source: Buffer, start: number, end: number): string => source.toString("utf8", start, end),
};
