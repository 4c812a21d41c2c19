// All entries of a store in the order of their keys, with a bounded part of it in memory; and two stores side by side.
// Reads only.
import { compareKeys } from "../storage/key.ts";
import { type Entry, KEY_BYTES_MAX, type Storage } from "../storage/storage.ts";

export interface StoredEntry extends Entry {
  readonly key: string;
}

/** One key and what each of two stores has there; at least one has something. */
export interface Pair {
  readonly key: string;
  readonly source: StoredEntry | undefined;
  readonly target: StoredEntry | undefined;
}

/** Keys of one scan: about 100 KiB of paths. */
const KEYS_PAGE = 512;
/** Values of one read at most, and the bytes at which the next read asks for fewer: values may be 32 MiB each. */
const VALUES_MAX = 64;
const READ_BYTES = 1024 * 1024;
/** The largest text that a key can be, so an end of everything: U+10FFFF takes four bytes. */
export const LAST_KEY = "\u{10ffff}".repeat(KEY_BYTES_MAX / 4);

/** Every entry but those at `skipped`. */
export async function* entriesOf(storage: Storage, skipped: string): AsyncGenerator<StoredEntry> {
  let size = 1;
  for await (const page of keyPages(storage)) {
    for (let i = 0; i < page.length; ) {
      const keys = page.slice(i, i + size);
      i += keys.length;
      let bytes = 0;
      const found = await storage.get(keys);
      for (const [n, entry] of found.entries()) {
        const key = keys[n];
        bytes += entry?.value.length ?? 0;
        if (entry !== undefined && key !== undefined && key !== skipped) yield { key, ...entry };
      }
      size = bytes > READ_BYTES ? Math.max(1, Math.floor((keys.length * READ_BYTES) / bytes)) : sizeAfter(size);
    }
  }
}

const sizeAfter = (size: number) => Math.min(size * 2, VALUES_MAX);

async function* keyPages(storage: Storage): AsyncGenerator<readonly string[]> {
  // The page begins at the last key of the one before, because the key after the longest one is no valid key.
  let [from, isFirst] = ["", true];
  for (;;) {
    const keys = await storage.scan({ from, to: LAST_KEY, limit: KEYS_PAGE });
    yield isFirst || keys[0] !== from ? keys : keys.slice(1);
    const last = keys.at(-1);
    if (last === undefined || keys.length < KEYS_PAGE) return;
    [from, isFirst] = [last, false];
  }
}

/** Both stores in one order. What is written meanwhile before the current key does no harm. */
export async function* pairsOf(source: Storage, target: Storage, skipped: string): AsyncGenerator<Pair> {
  const [left, right] = [entriesOf(source, skipped), entriesOf(target, skipped)];
  let [one, other] = [await left.next(), await right.next()];
  while (!(one.done === true && other.done === true)) {
    const order = one.done ? 1 : other.done ? -1 : compareKeys(one.value.key, other.value.key);
    const [a, b] = [
      order <= 0 && !one.done ? one.value : undefined,
      order >= 0 && !other.done ? other.value : undefined,
    ];
    const key = a?.key ?? b?.key ?? "";
    yield { key, source: a, target: b };
    if (a !== undefined) one = await left.next();
    if (b !== undefined) other = await right.next();
  }
}
