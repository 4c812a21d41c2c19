// One-dimensional arrays in PostgreSQL's binary format, so that many keys and values travel as one parameter without
// being written as text. Layout (array_send in src/backend/utils/adt/arrayfuncs.c), all numbers 32 bits big-endian:
// dimensions | has nulls | type's oid | length | lower bound | per element: bytes (-1 for null), then the element.

const BYTEA_OID = 17;
const INT8_OID = 20;
const INT4_OID = 23;
const BOOL_OID = 16;
const HEADER_BYTES = 20;
const LENGTH_BYTES = 4;

/** bytea[] */
export function byteaArray(items: readonly (Uint8Array | null)[]): Buffer {
  let size = HEADER_BYTES;
  for (const item of items) size += LENGTH_BYTES + (item?.length ?? 0);
  const out = header(items.length, BYTEA_OID, size);
  let at = HEADER_BYTES;
  for (const item of items) {
    at = out.writeInt32BE(item?.length ?? -1, at);
    if (item === null) continue;
    out.set(item, at);
    at += item.length;
  }
  return out;
}

/** bigint[] */
export function int8Array(items: readonly bigint[]): Buffer {
  const out = header(items.length, INT8_OID, HEADER_BYTES + items.length * (LENGTH_BYTES + 8));
  let at = HEADER_BYTES;
  for (const item of items) at = out.writeBigInt64BE(item, out.writeInt32BE(8, at));
  return out;
}

/** integer[] */
export function int4Array(items: readonly number[]): Buffer {
  const out = header(items.length, INT4_OID, HEADER_BYTES + items.length * (LENGTH_BYTES + 4));
  let at = HEADER_BYTES;
  for (const item of items) at = out.writeInt32BE(item, out.writeInt32BE(4, at));
  return out;
}

/** boolean[] */
export function boolArray(items: readonly boolean[]): Buffer {
  const out = header(items.length, BOOL_OID, HEADER_BYTES + items.length * (LENGTH_BYTES + 1));
  let at = HEADER_BYTES;
  for (const item of items) at = out.writeUInt8(item ? 1 : 0, out.writeInt32BE(1, at));
  return out;
}

function header(length: number, oid: number, size: number): Buffer {
  const out = Buffer.allocUnsafe(size);
  // An empty array has no dimension; what follows the oid is then not read.
  out.writeInt32BE(1, 0);
  out.writeInt32BE(oid === BYTEA_OID ? 1 : 0, 4);
  out.writeInt32BE(oid, 8);
  out.writeInt32BE(length, 12);
  out.writeInt32BE(1, 16);
  return out;
}
