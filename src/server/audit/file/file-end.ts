// The end of an audit file as somebody left it: what a new writer's chain continues from.
import { type FileHandle, open, stat } from "node:fs/promises";
import { readLink } from "#common/audit-chain.ts";

export interface FileEnd {
  readonly isEmpty: boolean;
  /** The last byte is no newline: a write was cut off. */
  readonly isRagged: boolean;
  /** Of the last whole line; "" when it has none, or when the file cannot be read. */
  readonly mac: string;
}

/** Read backwards in pieces; a chain fits one, a line that was cut off need not. */
const PIECE_BYTES = 64 * 1024;
/** A longer piece of a line without an end is not searched; the chain then continues from nothing. */
const SEARCH_BYTES_MAX = 64 * 1024 * 1024;
const NEWLINE = 0x0a;

/** Reads it. A file that may be written but not read, or that is no regular file, ends in nothing. */
export async function endOf(path: string): Promise<FileEnd> {
  const nothing: FileEnd = { isEmpty: true, isRagged: false, mac: "" };
  let file: FileHandle;
  try {
    // Opening a pipe would wait for somebody at its other end, so what it is comes first.
    if (!(await stat(path)).isFile()) return nothing;
    file = await open(path, "r");
  } catch {
    return nothing;
  }
  try {
    const { size } = await file.stat();
    return size === 0 ? nothing : await readEnd(file, size);
  } finally {
    await file.close();
  }
}

async function readEnd(file: FileHandle, size: number): Promise<FileEnd> {
  const last = await readAt(file, size - 1, 1);
  const isRagged = last[0] !== NEWLINE;
  const lineEnd = isRagged ? await newlineBefore(file, size) : size - 1;
  if (lineEnd === undefined) return { isEmpty: false, isRagged, mac: "" };
  const from = Math.max(0, lineEnd - PIECE_BYTES);
  const piece = await readAt(file, from, lineEnd - from);
  const line = piece.subarray(piece.lastIndexOf(NEWLINE) + 1);
  return { isEmpty: false, isRagged, mac: readLink(line)?.mac ?? "" };
}

/** Position of the last newline before a position. */
async function newlineBefore(file: FileHandle, end: number): Promise<number | undefined> {
  let to = end;
  while (to > 0 && end - to < SEARCH_BYTES_MAX) {
    const from = Math.max(0, to - PIECE_BYTES);
    const found = (await readAt(file, from, to - from)).lastIndexOf(NEWLINE);
    if (found >= 0) return from + found;
    to = from;
  }
  return undefined;
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}
