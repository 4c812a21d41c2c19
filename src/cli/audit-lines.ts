// The lines of audit files as they stand there: bytes, because a byte that was changed need not be text any more.
import { createReadStream } from "node:fs";
import { CofferError, messageOf } from "#common/errors.ts";

export interface FileLine {
  readonly file: string;
  /** 1 for the first of its file. */
  readonly line: number;
  readonly bytes: Buffer;
  /** False for what stands behind the last newline. */
  readonly isWhole: boolean;
}

/** The largest body a server takes, hidden and escaped, fits; a file without newlines must not fill the memory. */
export const LINE_BYTES_MAX = 256 * 1024 * 1024;
const NEWLINE = 0x0a;

/** All lines of the files in order. `name` is as the caller wrote it, `path` where it is. */
export async function* linesOf(files: readonly { name: string; path: string }[]): AsyncGenerator<FileLine> {
  for (const { name, path } of files) {
    let line = 0;
    for await (const { bytes, isWhole } of splitLines(path)) yield { file: name, line: ++line, bytes, isWhole };
  }
}

async function* splitLines(path: string): AsyncGenerator<Pick<FileLine, "bytes" | "isWhole">> {
  let pieces: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunksOf(path)) {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      yield { bytes: Buffer.concat([...pieces, chunk.subarray(from, at)]), isWhole: true };
      pieces = [];
      length = 0;
      from = at + 1;
    }
    pieces.push(chunk.subarray(from));
    length += chunk.length - from;
    if (length > LINE_BYTES_MAX)
      throw new CofferError("invalid_request", `${path} has a line longer than ${LINE_BYTES_MAX} bytes`);
  }
  if (length > 0) yield { bytes: Buffer.concat(pieces), isWhole: false };
}

async function* chunksOf(path: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of createReadStream(path)) {
      // A stream without an encoding gives buffers.
      yield chunk as Buffer;
    }
  } catch (cause) {
    throw new CofferError("invalid_request", `cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
}
