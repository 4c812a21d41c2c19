// Go's strings are bytes, and real templates decode keystores. A byte that is no UTF-8 is kept as the lone surrogate
// U+DC00 + byte, as Python's "surrogateescape" does (PEP 383): no text that arrives from a server holds one.

/** One character of UTF-8 as bytes (RFC 3629, section 4), or a byte that begins none. */
const SEQUENCES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are bytes
  /[\x00-\x7f]+|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}|[\x80-\xff]/g;
const LONE_BYTE = /[\uDC80-\uDCFF]/u;
const LONE_BYTES = /([\uDC80-\uDCFF])/u;

export function textOfBytes(bytes: Buffer): string {
  const text = bytes.toString("utf8");
  if (!text.includes("\ufffd")) return text;
  return bytes.toString("latin1").replace(SEQUENCES, (sequence) => {
    const first = sequence.charCodeAt(0);
    if (sequence.length === 1 && first >= 0x80) return String.fromCharCode(0xdc00 + first);
    return Buffer.from(sequence, "latin1").toString("utf8");
  });
}

export function bytesOfText(text: string): Buffer {
  if (text.isWellFormed()) return Buffer.from(text, "utf8");
  const parts = text.split(LONE_BYTES).map((part) => {
    return part.length === 1 && LONE_BYTE.test(part) ? Buffer.of(part.charCodeAt(0) - 0xdc00) : Buffer.from(part);
  });
  return Buffer.concat(parts);
}
