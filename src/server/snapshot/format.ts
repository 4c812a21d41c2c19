// What a snapshot is, byte by byte. Format 1: a tar archive (POSIX ustar) compressed by gzip, so that any machine can
// look at it and check it without this program and without keys: `tar xzf FILE && sha256sum -c SHA256SUMS`. Members, in
// this order and no others:
//
//   meta.json            what stands in SnapshotMeta below
//   entries/00000000 …   entries in the order of their keys' bytes, at most about 1 MiB a member, one after the other:
//                          4 bytes  length of the key, big-endian
//                          n bytes  key, UTF-8
//                          4 bytes  length of the value, big-endian
//                          m bytes  value as the storage holds it: ciphertext (barrier/envelope.ts), or the seals' blobs
//   trailer.json         { "entries": how many, "bytes": of all members entries/…, "sha256": of them, one after the other }
//   SHA256SUMS           a line for each member above: SHA-256 in hexadecimal, two spaces, name, line feed
//   SHA256SUMS.sealed    { "version": 1, "algorithm": "HMAC-SHA-256", "term", "mac" }: base64 of HMAC-SHA-256 over the
//                          bytes of SHA256SUMS. Its key is HKDF-SHA-256 of the keyring's key `term`, without salt, info
//                          MAC_PURPOSE, 32 bytes: who has no keyring of this store cannot change or make up a snapshot.
//                          Go's client of the API takes an answer for whole when a member of this name is there.
//
// Readers take every version that was ever written. A worked example is in format.test.ts; reasons in docs/adr/0021-snapshots.md.
import { CofferError } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import { type Infer, list, number, object, string } from "#common/schema.ts";
import { compareKeys } from "../storage/key.ts";
import { KEY_BYTES_MAX, type StoredEntry, VALUE_BYTES_MAX } from "../storage/storage.ts";

export const FORMAT = "coffer-snapshot";
export const FORMAT_VERSION = 1;
export const META = "meta.json";
export const TRAILER = "trailer.json";
export const SUMS = "SHA256SUMS";
export const SEALED_SUMS = "SHA256SUMS.sealed";
/** Of the key that authenticates a snapshot. */
export const MAC_PURPOSE = "coffer snapshot mac v1";
export const MAC_ALGORITHM = "HMAC-SHA-256";

const LENGTH_BYTES = 4;
/** A member of entries is full when it has this; one entry more may stand in it. */
export const CHUNK_BYTES = 1024 * 1024;
/** The largest member that is read: a full one, and one more entry of the largest size. */
export const MEMBER_BYTES_MAX = CHUNK_BYTES + 2 * LENGTH_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX;

const metaSchema = object({
  format: string,
  version: number,
  /** A UUID. */
  id: string,
  /** RFC 3339. */
  created: string,
  cluster_name: string,
  cluster_id: string,
  /** Kind of the storage it was taken of. */
  storage: string,
  /** Of the program that took it. */
  coffer_version: string,
  /** The seals that wrapped the root key: any of them opens what is restored on an empty store. */
  seals: list(object({ name: string, key_id: string })),
});
export type SnapshotMeta = Omit<Infer<typeof metaSchema>, "format" | "version">;

const trailerSchema = object({ entries: number, bytes: number, sha256: string });
export type SnapshotTrailer = Infer<typeof trailerSchema>;

const sealedSchema = object({ version: number, algorithm: string, term: number, mac: string });
export type SealedSums = Pick<Infer<typeof sealedSchema>, "term" | "mac">;

const json = (value: object) => Buffer.from(`${JSON.stringify(value)}\n`);

export const encodeMeta = (meta: SnapshotMeta) => json({ format: FORMAT, version: FORMAT_VERSION, ...meta });
export const encodeTrailer = (trailer: SnapshotTrailer) => json(trailer);
export const encodeSealed = (sealed: SealedSums) => json({ version: 1, algorithm: MAC_ALGORITHM, ...sealed });
export const sumLine = (sha256: string, name: string) => `${sha256}  ${name}\n`;
export const chunkName = (index: number) => `entries/${String(index).padStart(8, "0")}`;

/** Throws `invalid_request` for another program's file or a newer format. */
export function decodeMeta(bytes: Buffer): SnapshotMeta {
  const { format, version, ...meta } = parsed(META, () => metaSchema.parse(parseJson(bytes.toString("utf8")), META));
  if (format !== FORMAT) throw damaged(`it is of the format ${JSON.stringify(format)}`);
  if (version > FORMAT_VERSION) {
    const message = `the snapshot has format ${version} and this program reads up to ${FORMAT_VERSION}; use a newer one`;
    throw new CofferError("invalid_request", message);
  }
  return meta;
}

export function decodeTrailer(bytes: Buffer): SnapshotTrailer {
  return parsed(TRAILER, () => trailerSchema.parse(parseJson(bytes.toString("utf8")), TRAILER));
}

export function decodeSealed(bytes: Buffer): SealedSums {
  const sealed = parsed(SEALED_SUMS, () => sealedSchema.parse(parseJson(bytes.toString("utf8")), SEALED_SUMS));
  if (sealed.version === 1 && sealed.algorithm === MAC_ALGORITHM) return { term: sealed.term, mac: sealed.mac };
  throw damaged(`its ${SEALED_SUMS} is of a form that this program does not know`);
}

function parsed<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof CofferError) throw damaged(`its ${name} cannot be read: ${error.message}`);
    throw error;
  }
}

export function encodeEntry({ key, value }: StoredEntry): readonly Uint8Array[] {
  const keyBytes = Buffer.byteLength(key);
  const head = Buffer.allocUnsafe(2 * LENGTH_BYTES + keyBytes);
  head.writeUInt32BE(keyBytes, 0);
  head.write(key, LENGTH_BYTES, "utf8");
  head.writeUInt32BE(value.length, LENGTH_BYTES + keyBytes);
  return [head, value];
}

/** The entries of a member. Throws `invalid_request` when it is cut short, or they are not in order after `after`. */
export function decodeEntries(bytes: Buffer, after: string): readonly StoredEntry[] {
  const entries: StoredEntry[] = [];
  let [at, last] = [0, after];
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw damaged("an entry is cut short");
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = take(take(LENGTH_BYTES).readUInt32BE()).toString("utf8");
    const value = take(take(LENGTH_BYTES).readUInt32BE());
    if (Buffer.byteLength(key) > KEY_BYTES_MAX || value.length > VALUE_BYTES_MAX)
      throw damaged("an entry is too large");
    if (compareKeys(key, last) <= 0) throw damaged("its entries are not in order");
    entries.push({ key, value });
    last = key;
  }
  return entries;
}

export function damaged(what: string): CofferError {
  return new CofferError("invalid_request", `this is no whole snapshot of Coffer: ${what}; use another copy of it`);
}
