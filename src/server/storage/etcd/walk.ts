// Listing and scanning by pieces: etcd gives the first keys of a range, not one level of a tree. Every piece is of the
// moment of the first one. Pure but for the reader it is given.
import { compareKeys, listStart, nameBelow, pastFolder } from "../key.ts";
import type { Page, Range } from "../storage.ts";

export interface Piece {
  readonly keys: readonly string[];
  readonly more: boolean;
  readonly revision: number;
}

/** Keys of [from, to) in order; `to` undefined is the end of the store. Of now when the revision is 0. */
export type ReadKeys = (from: string, to: string | undefined, limit: number, revision: number) => Promise<Piece>;

/** Smallest piece. etcd walks its index of the whole rest of the range for each, which costs more than these keys. */
const PIECE_MIN = 256;
/** About 100 KiB of paths as they are usual. */
const PIECE_MAX = 2_048;
const NUL = "\0";

/** One level below a prefix, by skip scan: what lies deeper in a folder that fills a piece is jumped over. */
export async function listNames(prefix: string, page: Page, read: ReadKeys): Promise<readonly string[]> {
  const names: string[] = [];
  const { from, inclusive } = listStart(prefix, page.after);
  const to = prefix === "" ? undefined : pastFolder(prefix);
  let start = inclusive ? from : from + NUL;
  let [size, revision] = [PIECE_MIN, 0];
  while (names.length < page.limit && (to === undefined || compareKeys(start, to) < 0)) {
    const piece = await read(start, to, Math.min(size, page.limit - names.length + 1), revision);
    revision = piece.revision;
    const before = names.length;
    for (const key of piece.keys) {
      const name = nameBelow(prefix, key);
      if (name !== names.at(-1)) names.push(name);
    }
    const [last, lastKey] = [names.at(-1), piece.keys.at(-1)];
    if (!piece.more || last === undefined || lastKey === undefined) break;
    start = last.endsWith("/") ? pastFolder(prefix + last) : lastKey + NUL;
    size = names.length - before > size / 2 ? Math.min(size * 2, PIECE_MAX) : PIECE_MIN;
  }
  return names.slice(0, page.limit);
}

/** Keys of a range in order. */
export async function scanKeys({ from, to, limit }: Range, read: ReadKeys): Promise<readonly string[]> {
  const found: string[] = [];
  let [start, revision] = [from, 0];
  while (found.length < limit && compareKeys(start, to) < 0) {
    const piece = await read(start, to, Math.min(PIECE_MAX, limit - found.length), revision);
    revision = piece.revision;
    found.push(...piece.keys);
    const last = piece.keys.at(-1);
    if (!piece.more || last === undefined) break;
    start = last + NUL;
  }
  return found;
}
