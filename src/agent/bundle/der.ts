// The few kinds of DER that a PKCS #12 file is made of (ITU-T X.690), for writing alone. Pure.

/** tag | length | content, the length in as few bytes as it takes. */
function tlv(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  return Buffer.concat([Buffer.from([tag]), lengthOf(body.length), body]);
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes = bigEndian(length);
  return Buffer.concat([Buffer.from([0x80 | bytes.length]), bytes]);
}

function bigEndian(value: number): Buffer {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
}

export const der = {
  sequence: (...members: readonly Uint8Array[]) => tlv(0x30, ...members),
  set: (...members: readonly Uint8Array[]) => tlv(0x31, ...members),
  octets: (bytes: Uint8Array) => tlv(0x04, bytes),
  nothing: () => tlv(0x05),
  /** Not negative. */
  integer(value: number): Buffer {
    const bytes = bigEndian(value);
    return tlv(0x02, (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.from([0]), bytes]));
  },
  /** "1.2.840.113549.1.7.1". */
  oid(text: string): Buffer {
    const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
    return tlv(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
  },
  /** BMPString: UTF-16, the greater byte first. */
  bmp: (text: string) => tlv(0x1e, bmpBytes(text)),
  /** [n], constructed, around what it holds. */
  explicit: (n: number, ...members: readonly Uint8Array[]) => tlv(0xa0 | n, ...members),
} as const;

/** UTF-16, the greater byte first. */
export function bmpBytes(text: string): Buffer {
  return Buffer.from(text, "utf16le").swap16();
}

function base128(value: number): number[] {
  const bytes = [value & 0x7f];
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}
