// The part of the tar format that snapshots need (POSIX.1-2017, pax: "ustar Interchange Format"): plain files with short
// names and a size known beforehand. Blocks of 512 bytes: a header, then the content padded with zeros; two empty blocks
// end the archive. Reading gives one member at a time, of a bounded size.
import { damaged } from "./format.ts";

const BLOCK = 512;
const SIZE_AT = 124;
const SIZE_DIGITS = 12;
const SUM_AT = 148;
const TYPE_AT = 156;
const MAGIC_AT = 257;
const NAME_BYTES = 100;
const OCTAL = 8;

export interface Member {
  readonly name: string;
  readonly content: Buffer;
}

/** The header of a member of so many bytes. */
export function tarHeader(name: string, size: number, seconds: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, "utf8");
  header.write("0000600\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  header.write(`${octal(size, SIZE_DIGITS)} `, SIZE_AT);
  header.write(`${octal(seconds, SIZE_DIGITS)} `, 136);
  header.write(" ".repeat(8), SUM_AT);
  header.write("0", TYPE_AT);
  header.write("ustar\x0000", MAGIC_AT);
  header.write(`${octal(sumOf(header), 7)}\0 `, SUM_AT);
  return header;
}

/** The zeros behind a content of so many bytes. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

export const TAR_END = Buffer.alloc(2 * BLOCK);

/** Members in their order. Throws `invalid_request` for what is no such archive, or a member larger than the limit. */
export async function* readTar(bytes: AsyncIterable<Uint8Array>, memberBytesMax: number): AsyncGenerator<Member> {
  const source = new ByteSource(bytes);
  try {
    for (;;) {
      const header = await source.take(BLOCK);
      if (header === undefined) throw damaged("it ends too early");
      if (header.every((byte) => byte === 0)) return source.drain();
      if (
        header.toString("latin1", MAGIC_AT, MAGIC_AT + 5) !== "ustar" ||
        readOctal(header, SUM_AT, 8) !== sumOf(header)
      )
        throw damaged("it is not a tar archive");
      const size = readOctal(header, SIZE_AT, SIZE_DIGITS);
      if (header.toString("latin1", TYPE_AT, TYPE_AT + 1) !== "0") throw damaged("it has a member that is no file");
      if (!(size >= 0 && size <= memberBytesMax)) throw damaged("it has a member that is too large");
      const content = await source.take(size);
      const padding = await source.take(tarPadding(size).length);
      if (content === undefined || padding === undefined) throw damaged("it ends too early");
      const name = header.toString("utf8", 0, NAME_BYTES);
      yield { name: name.slice(0, name.indexOf("\0")), content };
    }
  } finally {
    await source.close();
  }
}

const octal = (value: number, digits: number) => value.toString(OCTAL).padStart(digits - 1, "0");

function readOctal(header: Buffer, at: number, length: number): number {
  const text = header.toString("latin1", at, at + length).replace(/[\0 ]+$/, "");
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, OCTAL) : Number.NaN;
}

/** The sum of all bytes, the checksum's own as spaces. */
function sumOf(header: Buffer): number {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= SUM_AT && i < SUM_AT + 8 ? 0x20 : (header[i] ?? 0);
  return sum;
}

/** Takes exact numbers of bytes from chunks as they come. */
class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #pending: Buffer[] = [];
  #size = 0;

  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#chunks = bytes[Symbol.asyncIterator]();
  }

  /** Undefined when there are fewer. */
  async take(length: number): Promise<Buffer | undefined> {
    while (this.#size < length) {
      const { done, value } = await this.#chunks.next();
      if (done) return undefined;
      this.#pending.push(Buffer.from(value.buffer, value.byteOffset, value.length));
      this.#size += value.length;
    }
    const all = this.#pending.length === 1 && this.#pending[0] ? this.#pending[0] : Buffer.concat(this.#pending);
    this.#pending = [all.subarray(length)];
    this.#size -= length;
    return all.subarray(0, length);
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  /** Reads to the end, so that a checksum of the compression below is looked at. */
  async drain(): Promise<void> {
    while ((await this.#chunks.next()).done !== true);
  }
}
