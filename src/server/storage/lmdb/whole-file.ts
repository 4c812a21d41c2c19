// Whether all pages that a store refers to are in its file. LMDB maps the file and finds out by a signal that ends the
// process; this looks first, and only where the file is shorter than LMDB's count of pages: it may be so rightly, when the
// last pages are free. Reads the bytes of the LMDB in the package (mdb.c), little-endian:
//
//   page   pgno (8) | txnid (8) | pad (2) | flags (2) | lower (2) | upper (2) | offsets of nodes (2 each)
//   node   lo (2) | hi (2) | flags (2) | key size (2) | key | data; in a branch, lo, hi and flags are a page's number
//   meta   page header | magic (4) | version (4) | address (8) | map size (8) | free (48) | main (48) | last page (8) | txnid (8)
//   tree   pad (4; in free: the page size) | flags (2) | depth (2) | counts (32) | root page (8), all ones without one
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { CofferError } from "#common/errors.ts";
import { holdersOf } from "./files.ts";

const HEADER_BYTES = 24;
const FLAGS_AT = 18;
const LOWER_AT = 20;
const BRANCH = 0x01;
const LEAF = 0x02;
const FREE_AT = HEADER_BYTES + 24;
const TREE_BYTES = 48;
const ROOT_IN_TREE = 40;
const LAST_PAGE_AT = FREE_AT + 2 * TREE_BYTES;
const TXNID_AT = LAST_PAGE_AT + 8;
const META_BYTES = TXNID_AT + 8;
const NODE_BYTES = 8;
/** The data of a node is the number of the page it begins at. */
const BIG_DATA = 0x01;
/** The data of a node is a tree. */
const SUB_TREE = 0x02;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;
const PAGE_BYTES_MIN = 256;
const PAGE_BYTES_MAX = 65_536;

/** Throws `unavailable` for a file that was cut short. A file without a byte is a store that is just made. */
export async function assertWholeFile(path: string): Promise<void> {
  const file = join(path, "data.mdb");
  // Another process uses the store, so it is whole; and pages change while they are looked at.
  if ((await holdersOf(join(path, "lock.mdb"))).length > 0) return;
  await using handle = await open(file, "r").catch(() => undefined);
  // There is none yet.
  if (handle === undefined) return;
  const { size } = await handle.stat();
  if (size === 0) return;
  const first = await readAt(handle, 0, META_BYTES);
  const pageBytes = first?.readUInt32LE(FREE_AT) ?? 0;
  if (first === undefined || pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX) throw cutShort(file, size);
  const second = await readAt(handle, pageBytes, META_BYTES);
  if (second === undefined) throw cutShort(file, size);
  const meta = second.readBigUInt64LE(TXNID_AT) > first.readBigUInt64LE(TXNID_AT) ? second : first;
  if (size >= (Number(meta.readBigUInt64LE(LAST_PAGE_AT)) + 1) * pageBytes) return;
  const pages = new Pages(handle, pageBytes, size);
  const trees = [FREE_AT, FREE_AT + TREE_BYTES].map((at) => meta.readBigUInt64LE(at + ROOT_IN_TREE));
  for (const root of trees) if (!(await pages.hasTree(root))) throw cutShort(file, size);
}

function cutShort(file: string, size: number): CofferError {
  const message = `${file} is cut short or damaged: it refers to pages beyond its ${size} bytes; restore it from a snapshot or a copy`;
  return new CofferError("unavailable", message);
}

class Pages {
  readonly #handle: FileHandle;
  readonly #pageBytes: number;
  readonly #size: number;

  constructor(handle: FileHandle, pageBytes: number, size: number) {
    this.#handle = handle;
    this.#pageBytes = pageBytes;
    this.#size = size;
  }

  /** Whether every page below this one is in the file. */
  async hasTree(root: bigint): Promise<boolean> {
    const wanted = root === NO_PAGE ? [] : [root];
    const seen = new Set(wanted);
    for (let number = wanted.pop(); number !== undefined; number = wanted.pop()) {
      const below = await this.#below(number);
      if (below === undefined) return false;
      for (const next of below) if (!seen.has(next)) wanted.push(next);
      for (const next of below) seen.add(next);
    }
    return true;
  }

  /** The tree's pages that a page refers to; undefined when it or a value of its own is not all there. */
  async #below(number: bigint): Promise<readonly bigint[] | undefined> {
    const page = await readAt(this.#handle, Number(number) * this.#pageBytes, this.#pageBytes);
    if (page === undefined) return undefined;
    const flags = page.readUInt16LE(FLAGS_AT);
    const offsets = page.subarray(HEADER_BYTES, Math.max(HEADER_BYTES, page.readUInt16LE(LOWER_AT)));
    if ((flags & (BRANCH | LEAF)) === 0) return undefined;
    const below: bigint[] = [];
    for (let i = 0; i + 1 < offsets.length; i += 2) {
      const node = page.subarray(offsets.readUInt16LE(i));
      if (node.length < NODE_BYTES) return undefined;
      if ((flags & BRANCH) !== 0) below.push(BigInt(node.readUIntLE(0, 6)));
      else {
        const tree = this.#treeOf(node);
        if (tree === "missing") return undefined;
        if (tree !== undefined) below.push(tree);
      }
    }
    return below;
  }

  /** The root of the tree that a leaf's node holds, if it holds one; "missing" when its value is beyond the end. */
  #treeOf(node: Buffer): bigint | "missing" | undefined {
    const [flags, keyBytes] = [node.readUInt16LE(4), node.readUInt16LE(6)];
    const data = node.subarray(NODE_BYTES + keyBytes);
    if ((flags & BIG_DATA) !== 0) {
      if (data.length < 8) return "missing";
      const end = Number(data.readBigUInt64LE()) * this.#pageBytes + HEADER_BYTES + node.readUInt32LE(0);
      return end > this.#size ? "missing" : undefined;
    }
    if ((flags & SUB_TREE) === 0) return undefined;
    if (data.length < TREE_BYTES) return "missing";
    const root = data.readBigUInt64LE(ROOT_IN_TREE);
    return root === NO_PAGE ? undefined : root;
  }
}

/** Undefined when the file ends before. */
async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer | undefined> {
  if (!Number.isSafeInteger(position)) return undefined;
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, position);
  return bytesRead === length ? buffer : undefined;
}
