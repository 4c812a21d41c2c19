// Literals of texts and characters as Go spells them (go.dev/ref/spec, "String literals" and "Rune literals").
import { textOfBytes } from "./byte-text.ts";
import { FaultAt } from "./fault.ts";

interface Read<T> {
  readonly value: T;
  /** Offset behind the literal. */
  readonly end: number;
}

const SIMPLE: Readonly<Record<string, string>> = {
  ...{ a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" },
  ...{ "\\": "\\", "'": "'", '"': '"' },
};
const CODE = /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))/y;

/** A literal in double quotes that begins at `at`. */
export function readQuoted(text: string, at: number): Read<string> {
  const body = readUntil(text, at, '"');
  const bytes: Buffer[] = body.pieces.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece));
  return { value: textOfBytes(Buffer.concat(bytes)), end: body.end };
}

/** A character in single quotes: its number. */
export function readChar(text: string, at: number): Read<bigint> {
  const { pieces, end } = readUntil(text, at, "'");
  const piece = pieces[0];
  const content = typeof piece === "string" ? [...pieces.join("")] : [];
  if (pieces.length === 1 && Buffer.isBuffer(piece)) return { value: BigInt(piece[0] ?? 0), end };
  if (content.length !== 1) throw new FaultAt(at, "single quotes hold one character: put a text into double quotes");
  return { value: BigInt(content[0]?.codePointAt(0) ?? 0), end };
}

/** A literal between back quotes, where nothing is special. */
export function readRaw(text: string, at: number): Read<string> {
  const end = text.indexOf("`", at + 1);
  if (end < 0) throw new FaultAt(at, "this text has no end: close it with `");
  return { value: text.slice(at + 1, end).replaceAll("\r", ""), end: end + 1 };
}

function readUntil(text: string, at: number, quote: string): { pieces: (string | Buffer)[]; end: number } {
  const pieces: (string | Buffer)[] = [];
  let i = at + 1;
  while (text[i] !== quote) {
    const c = text[i];
    if (c === undefined || c === "\n") throw new FaultAt(at, `this text has no end: close it with ${quote}`);
    if (c !== "\\") {
      const stop = nextSpecial(text, i, quote);
      pieces.push(text.slice(i, stop));
      i = stop;
    } else {
      const { piece, length } = readEscape(text, i);
      pieces.push(piece);
      i += length;
    }
  }
  return { pieces, end: i + 1 };
}

function nextSpecial(text: string, from: number, quote: string): number {
  let i = from;
  while (i < text.length && text[i] !== quote && text[i] !== "\\" && text[i] !== "\n") i++;
  return i;
}

function readEscape(text: string, at: number): { piece: string | Buffer; length: number } {
  const simple = SIMPLE[text[at + 1] ?? ""];
  if (simple !== undefined) return { piece: simple, length: 2 };
  CODE.lastIndex = at;
  const [all, byte, short, long, octal] = CODE.exec(text) ?? [];
  if (all === undefined) throw new FaultAt(at, "there is no such escape: write \\\\ for a backslash");
  const number = byte ?? octal;
  if (number !== undefined) return { piece: Buffer.of(Number.parseInt(number, byte ? 16 : 8)), length: all.length };
  const code = Number.parseInt(short ?? long ?? "", 16);
  if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) throw new FaultAt(at, "there is no such character");
  return { piece: String.fromCodePoint(code), length: all.length };
}
