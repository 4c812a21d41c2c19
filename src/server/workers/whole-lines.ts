// Passes on what several processes write to one stream without tearing lines: a write to a pipe is only whole up to
// 4,096 bytes (PIPE_BUF, pipe(7)), and lines of the audit log are longer.
import type { Readable } from "node:stream";

const NEWLINE = 10;

/** Until the source ends. Waits for the destination, so that the source waits too. A last line without an end gets one. */
export async function passWholeLines(source: Readable, write: (bytes: Buffer) => Promise<void>): Promise<void> {
  let rest: Buffer[] = [];
  for await (const chunk of source) {
    const bytes = Buffer.from(chunk);
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    if (end > 0) {
      await write(Buffer.concat([...rest, bytes.subarray(0, end)]));
      rest = [];
    }
    if (end < bytes.length) rest.push(bytes.subarray(end));
  }
  if (rest.length > 0) await write(Buffer.concat([...rest, Buffer.from([NEWLINE])]));
}
