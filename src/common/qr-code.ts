// QR codes (ISO/IEC 18004) of texts, as PNG pictures: byte mode, error correction level M, mask 0 to 7 by the standard's
// penalty. Pure. What is drawn where:
//
//   finder patterns in three corners, timing lines between them, alignment patterns inside, format bits beside the
//   finders, version bits from version 7 on; the rest is data and its Reed-Solomon remainder, in columns of two from the
//   right, up and down in turn.
import { crc32, deflateSync } from "node:zlib";

/** Level M, by version from 1: bytes of remainder in each block, and blocks. ISO/IEC 18004 table 9. */
const REMAINDER_BYTES = [
  10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26, 28, 28, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28,
];
const BLOCKS = [
  1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35,
  37, 38, 40, 43, 45, 47, 49,
];
/** Empty modules around the picture. */
const QUIET = 4;
/** Beyond this a picture is no use on a screen, and it is the client who says the size. */
export const QR_PIXELS_MAX = 2_048;

/** A square picture of the text, or undefined when it is too long or the picture too small to show it. */
export function qrPng(text: string, pixels: number): Buffer | undefined {
  const modules = qrModules(Buffer.from(text));
  if (!modules || pixels > QR_PIXELS_MAX) return undefined;
  const across = modules.length + 2 * QUIET;
  if (pixels < across) return undefined;
  // Modules of whole pixels: readers fail on uneven ones.
  const scale = Math.floor(pixels / across);
  const margin = Math.floor((pixels - scale * modules.length) / 2);
  const at = (pixel: number) => Math.floor((pixel - margin) / scale);
  const rows = Buffer.alloc(pixels * (pixels + 1), 0xff);
  for (let y = 0; y < pixels; y++) {
    rows[y * (pixels + 1)] = 0; // each line begins with its filter: none
    for (let x = 0; x < pixels; x++) if (modules[at(y)]?.[at(x)]) rows[y * (pixels + 1) + 1 + x] = 0;
  }
  return png(pixels, rows);
}

/** RFC 2083: eight bits of grey. */
function png(pixels: number, rows: Uint8Array): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(pixels, 0);
  header.writeUInt32BE(pixels, 4);
  header[8] = 8;
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const framed = Buffer.alloc(body.length + 8);
    framed.writeUInt32BE(data.length, 0);
    framed.set(body, 4);
    framed.writeUInt32BE(crc32(body), body.length + 4);
    return framed;
  };
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.of()),
  ]);
}

/** Rows of modules, true is dark; undefined for what no version holds. */
export function qrModules(data: Uint8Array): readonly (readonly boolean[])[] | undefined {
  const version = versionFor(data.length);
  if (version === undefined) return undefined;
  const grid = new Grid(version);
  grid.drawData(withRemainders(version, dataCodewords(version, data)));
  const masked = [0, 1, 2, 3, 4, 5, 6, 7].map((mask) => grid.masked(mask));
  return masked.map((modules) => ({ modules, cost: penalty(modules) })).toSorted((a, b) => a.cost - b.cost)[0]?.modules;
}

function versionFor(bytes: number): number | undefined {
  for (let version = 1; version <= 40; version++) {
    const capacityBits = dataBytes(version) * 8 - 4 - countBits(version);
    if (bytes * 8 <= capacityBits) return version;
  }
  return undefined;
}

/** Bits that say how long the data is. */
const countBits = (version: number) => (version < 10 ? 8 : 16);
const blocksOf = (version: number) => BLOCKS[version - 1] ?? 0;
const remainderOf = (version: number) => REMAINDER_BYTES[version - 1] ?? 0;
const dataBytes = (version: number) => rawBytes(version) - blocksOf(version) * remainderOf(version);

/** All modules that are no pattern, in bytes. */
function rawBytes(version: number): number {
  let modules = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const alignments = Math.floor(version / 7) + 2;
    modules -= (25 * alignments - 10) * alignments - 55;
    if (version >= 7) modules -= 36;
  }
  return Math.floor(modules / 8);
}

function dataCodewords(version: number, data: Uint8Array): Uint8Array {
  const bits: number[] = [];
  const push = (value: number, count: number) => {
    for (let i = count - 1; i >= 0; i--) bits.push((value >>> i) & 1);
  };
  push(0b0100, 4);
  push(data.length, countBits(version));
  for (const byte of data) push(byte, 8);
  const capacity = dataBytes(version) * 8;
  push(0, Math.min(4, capacity - bits.length));
  push(0, (8 - (bits.length % 8)) % 8);
  for (let filler = 0xec; bits.length < capacity; filler ^= 0xec ^ 0x11) push(filler, 8);
  return Uint8Array.from({ length: capacity / 8 }, (_, i) =>
    bits.slice(i * 8, i * 8 + 8).reduce((byte, bit) => (byte << 1) | bit, 0),
  );
}

/** The blocks' bytes in turn, then their remainders' in turn. */
function withRemainders(version: number, data: Uint8Array): Uint8Array {
  const [blocks, remainder] = [blocksOf(version), remainderOf(version)];
  const shortLength = Math.floor(data.length / blocks);
  const shortBlocks = blocks - (data.length % blocks);
  const divisor = generator(remainder);
  const parts: Uint8Array[] = [];
  for (let i = 0, at = 0; i < blocks; i++) {
    const length = shortLength + (i < shortBlocks ? 0 : 1);
    parts.push(data.subarray(at, at + length));
    at += length;
  }
  const remainders = parts.map((part) => remainderBytes(part, divisor));
  const interleave = (lists: readonly Uint8Array[], length: number) =>
    Array.from({ length }, (_, i) => lists.flatMap((list) => list[i] ?? [])).flat();
  return Uint8Array.from([...interleave(parts, shortLength + 1), ...interleave(remainders, remainder)]);
}

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
function times(a: number, b: number): number {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ ((product >>> 7) * 0x11d);
    product ^= ((b >>> bit) & 1) * a;
  }
  return product;
}

/** (x - 1)(x - 2)(x - 4)…, without its leading one. */
function generator(degree: number): Uint8Array {
  const result = new Uint8Array(degree);
  result[degree - 1] = 1;
  for (let i = 0, root = 1; i < degree; i++, root = times(root, 2)) {
    for (let j = 0; j < degree; j++) result[j] = times(result[j] ?? 0, root) ^ (result[j + 1] ?? 0);
  }
  return result;
}

function remainderBytes(data: Uint8Array, divisor: Uint8Array): Uint8Array {
  const result = new Uint8Array(divisor.length);
  for (const byte of data) {
    const factor = byte ^ (result[0] ?? 0);
    result.copyWithin(0, 1);
    result[result.length - 1] = 0;
    for (const [i, coefficient] of divisor.entries()) result[i] = (result[i] ?? 0) ^ times(coefficient, factor);
  }
  return result;
}

/** Whether a mask turns a module over. */
const MASKS: readonly ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_x, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

class Grid {
  readonly #version: number;
  readonly #size: number;
  readonly #dark: boolean[][];
  /** Modules that are patterns: no data, and no mask. */
  readonly #fixed: boolean[][];
  constructor(version: number) {
    this.#version = version;
    this.#size = version * 4 + 17;
    const empty = () => Array.from({ length: this.#size }, () => new Array<boolean>(this.#size).fill(false));
    this.#dark = empty();
    this.#fixed = empty();
    this.#drawPatterns();
  }

  #set(x: number, y: number, dark: boolean): void {
    const [darkRow, fixedRow] = [this.#dark[y], this.#fixed[y]];
    if (!darkRow || !fixedRow || x < 0 || x >= this.#size) return;
    darkRow[x] = dark;
    fixedRow[x] = true;
  }

  #drawPatterns(): void {
    const last = this.#size - 1;
    for (let i = 0; i <= last; i++) {
      this.#set(6, i, i % 2 === 0);
      this.#set(i, 6, i % 2 === 0);
    }
    for (const [x, y] of [
      [3, 3],
      [last - 3, 3],
      [3, last - 3],
    ] as const)
      this.#drawSquares(x, y, 4, [2, 4]);
    const centres = this.#alignmentCentres();
    for (const x of centres)
      for (const y of centres) {
        const isFinder = (x === 6 && y === 6) || (x === 6 && y === last - 6) || (x === last - 6 && y === 6);
        if (!isFinder) this.#drawSquares(x, y, 2, [1]);
      }
    this.#drawFormat(0);
    this.#drawVersion();
  }

  /** Nested squares around a centre; those at the given distances are light. */
  #drawSquares(x: number, y: number, radius: number, light: readonly number[]): void {
    for (let dy = -radius; dy <= radius; dy++)
      for (let dx = -radius; dx <= radius; dx++)
        this.#set(x + dx, y + dy, !light.includes(Math.max(Math.abs(dx), Math.abs(dy))));
  }

  #alignmentCentres(): readonly number[] {
    if (this.#version === 1) return [];
    const count = Math.floor(this.#version / 7) + 2;
    const step = this.#version === 32 ? 26 : Math.ceil((this.#version * 4 + 4) / (count * 2 - 2)) * 2;
    const others = Array.from({ length: count - 1 }, (_, i) => this.#size - 7 - i * step);
    return [6, ...others.reverse()];
  }

  /** Level M is 00. Its bits and the mask's, and their BCH remainder, twice. */
  #drawFormat(mask: number): void {
    const bits = ((mask << 10) | bchRemainder(mask, 10, 0x537)) ^ 0x5412;
    const bit = (i: number) => ((bits >>> i) & 1) === 1;
    const size = this.#size;
    for (let i = 0; i < 15; i++) {
      if (i < 8) this.#set(size - 1 - i, 8, bit(i));
      else this.#set(8, size - 15 + i, bit(i));
      if (i < 6) this.#set(8, i, bit(i));
      else if (i < 8) this.#set(8, i + 1, bit(i));
      else if (i === 8) this.#set(7, 8, bit(i));
      else this.#set(14 - i, 8, bit(i));
    }
    this.#set(8, size - 8, true);
  }

  #drawVersion(): void {
    if (this.#version < 7) return;
    const bits = (this.#version << 12) | bchRemainder(this.#version, 12, 0x1f25);
    for (let i = 0; i < 18; i++) {
      const [a, b] = [this.#size - 11 + (i % 3), Math.floor(i / 3)];
      this.#set(a, b, ((bits >>> i) & 1) === 1);
      this.#set(b, a, ((bits >>> i) & 1) === 1);
    }
  }

  drawData(data: Uint8Array): void {
    let i = 0;
    for (let right = this.#size - 1; right >= 1; right -= right === 8 ? 3 : 2) {
      const isUp = ((right + 1) & 2) === 0;
      for (let step = 0; step < this.#size; step++) {
        const y = isUp ? this.#size - 1 - step : step;
        for (const x of [right, right - 1]) {
          const row = this.#dark[y];
          if (!row || this.#fixed[y]?.[x]) continue;
          row[x] = (((data[i >>> 3] ?? 0) >>> (7 - (i & 7))) & 1) === 1;
          i++;
        }
      }
    }
  }

  /** The modules under a mask, with the format bits that say which. */
  masked(mask: number): readonly (readonly boolean[])[] {
    this.#drawFormat(mask);
    const turns = MASKS[mask];
    return this.#dark.map((row, y) =>
      row.map((dark, x) => (turns && !this.#fixed[y]?.[x] && turns(x, y) ? !dark : dark)),
    );
  }
}

function bchRemainder(value: number, bits: number, polynomial: number): number {
  let remainder = value;
  for (let i = 0; i < bits; i++) remainder = (remainder << 1) ^ ((remainder >>> (bits - 1)) * polynomial);
  return remainder;
}

/** ISO/IEC 18004 section 7.8.3: runs, blocks, what looks like a finder, and too much of one colour. */
function penalty(modules: readonly (readonly boolean[])[]): number {
  const columns = modules.map((_row, x) => modules.map((row) => row[x] ?? false));
  const lines = [...modules, ...columns];
  return lines.reduce((sum, line) => sum + linePenalty(line), 0) + blockPenalty(modules) + balancePenalty(modules);
}

function linePenalty(line: readonly boolean[]): number {
  const text = line.map((dark) => (dark ? "1" : "0")).join("");
  const runs = text.match(/0{5,}|1{5,}/g) ?? [];
  const finders = text.match(/(?=00001011101|10111010000)/g) ?? [];
  return runs.reduce((sum, run) => sum + run.length - 2, 0) + finders.length * 40;
}

function blockPenalty(modules: readonly (readonly boolean[])[]): number {
  let blocks = 0;
  for (const [y, row] of modules.entries()) {
    const below = modules[y + 1];
    if (!below) break;
    for (let x = 0; x + 1 < row.length; x++)
      if (row[x] === row[x + 1] && row[x] === below[x] && row[x] === below[x + 1]) blocks++;
  }
  return blocks * 3;
}

function balancePenalty(modules: readonly (readonly boolean[])[]): number {
  const dark = modules.flat().filter(Boolean).length;
  const percent = (dark * 100) / modules.length ** 2;
  return Math.floor(Math.abs(percent - 50) / 5) * 10;
}
