// What a transaction's listing shows: storage's names with the transaction's own writes laid over them. Pure apart from
// the reads it is given; must not remember anything.
import { assertPrefix, compareKeys, nameBelow, pastFolder } from "../storage/key.ts";
import type { Page, Range, Storage } from "../storage/storage.ts";

type Writes = ReadonlyMap<string, Uint8Array | null>;

/** Keys of a range in order, the writes included. */
export async function scanWithWrites(storage: Storage, writes: Writes, range: Range): Promise<readonly string[]> {
  const { puts, deletes } = within(writes, (key) => isInRange(key, range));
  // As many more as can fall away, so that what is left fills the page.
  const stored = await storage.scan({ ...range, limit: range.limit + deletes.size });
  return mergeSorted(
    stored.filter((key) => !deletes.has(key)),
    puts,
    range.limit,
  );
}

/** One level below a prefix in order, the writes included. */
export async function listWithWrites(
  storage: Storage,
  writes: Writes,
  prefix: string,
  page: Page,
): Promise<readonly string[]> {
  assertPrefix(prefix);
  const { puts, deletes } = within(writes, (key) => key.length > prefix.length && key.startsWith(prefix));
  const after = page.after ?? "";
  const added = new Set<string>();
  for (const key of puts) {
    const name = nameBelow(prefix, key);
    if (after === "" || compareKeys(name, after) > 0) added.add(name);
  }
  const touched = new Set<string>();
  for (const key of deletes) touched.add(nameBelow(prefix, key));
  const stored = await storage.list(prefix, { ...page, limit: page.limit + touched.size });
  const kept: string[] = [];
  for (const name of stored) {
    if (!touched.has(name) || (name.endsWith("/") && (await outlives(storage, deletes, prefix + name))))
      kept.push(name);
  }
  return mergeSorted(kept, added, page.limit);
}

/** Whether a folder of storage still has a key when the deleted ones are gone. */
async function outlives(storage: Storage, deletes: ReadonlySet<string>, folder: string): Promise<boolean> {
  let inFolder = 0;
  for (const key of deletes) if (key.startsWith(folder)) inFolder++;
  const keys = await storage.scan({ from: folder, to: pastFolder(folder), limit: inFolder + 1 });
  return keys.some((key) => !deletes.has(key));
}

function within(writes: Writes, included: (key: string) => boolean): { puts: Set<string>; deletes: Set<string> } {
  const puts = new Set<string>();
  const deletes = new Set<string>();
  for (const [key, value] of writes) {
    if (included(key)) (value === null ? deletes : puts).add(key);
  }
  return { puts, deletes };
}

function isInRange(key: string, range: Range): boolean {
  return compareKeys(key, range.from) >= 0 && compareKeys(key, range.to) < 0;
}

function mergeSorted(stored: readonly string[], added: ReadonlySet<string>, limit: number): readonly string[] {
  if (added.size === 0) return stored.slice(0, Math.max(0, limit));
  const all = new Set(added);
  for (const name of stored) all.add(name);
  return [...all].sort(compareKeys).slice(0, Math.max(0, limit));
}
