// Puts the entries of a snapshot in the place of all that a store holds. A store cannot do so much in one commit, so it is
// marked first (storage/restore-record.ts) and nobody serves it until the mark is gone; every commit in between carries
// the mark's version, so that of two runs only the later one writes. Interrupted, it is done again from the beginning.
import { randomUUID } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { KeyringChange } from "../barrier/open-keyring.ts";
import { compareKeys } from "../storage/key.ts";
import { encodeRestore, RESTORE_KEY } from "../storage/restore-record.ts";
import type { Storage, StoredEntry } from "../storage/storage.ts";

export interface Replacement {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Id of the snapshot. */
  readonly snapshot: string;
  /** In the order of their keys. */
  readonly chunks: AsyncIterable<readonly StoredEntry[]>;
  /** Keys that stay as they are in the store, and are not taken from the snapshot. */
  readonly isKept: (key: string) => boolean;
  /** How long other processes may take to see the mark. */
  readonly graceMillis: Millis;
  /** A change of the keyring that the mark's commit makes as well, or meets a conflict. */
  readonly keys?: KeyringChange;
  /** A run that did not come to its end may be taken over. */
  readonly mayTakeOver: boolean;
  progress?(entries: number): void;
}

/** A commit of etcd has at most 128 operations and 1.5 MiB by default; the mark is one of its comparisons. */
const COMMIT_ENTRIES = 100;
const COMMIT_BYTES = 512 * 1024;
/** Commits on their way at once, which the backends make in groups. */
const LANES = 4;
const SCAN_KEYS = 1_000;
/** Past every key: no character of UTF-8 is above. */
const PAST_ALL = "\u{10ffff}\u{10ffff}";
const NUL = "\0";

/** Resolves when the store holds the snapshot. Throws `conflict` when another run is under way or took over. */
export async function replaceEntries(replacement: Replacement): Promise<void> {
  const { storage, clock, graceMillis } = replacement;
  const mark = await putMark(replacement);
  if (graceMillis > 0) await clock.sleep(graceMillis);
  await new Replacer(replacement, mark).run();
  const result = await storage.commit({
    expected: new Map([[RESTORE_KEY, mark]]),
    writes: new Map([[RESTORE_KEY, null]]),
  });
  if (result === "conflict") throw takenOver();
}

async function putMark({ storage, clock, snapshot, mayTakeOver, keys }: Replacement): Promise<bigint> {
  const [before] = await storage.get([RESTORE_KEY]);
  if (before !== undefined && !mayTakeOver)
    throw new CofferError("conflict", "another snapshot is being restored to this storage");
  const value = encodeRestore({ run: randomUUID(), snapshot, begun: clock.now() });
  const expected = new Map([...(keys?.expected ?? []), [RESTORE_KEY, before?.version] as const]);
  const writes = new Map([...(keys?.writes ?? []), [RESTORE_KEY, value] as const]);
  const result = await storage.commit({ expected, writes });
  const [now] = await storage.get([RESTORE_KEY]);
  if (result === "conflict" && now?.version === before?.version)
    throw new CofferError("conflict", "the keyring changed at this moment, nothing was restored; restore it again");
  if (result === "conflict" || now === undefined || Buffer.compare(now.value, value) !== 0) throw takenOver();
  return now.version;
}

class Replacer {
  readonly #replacement: Replacement;
  readonly #expected: ReadonlyMap<string, bigint>;
  readonly #running = new Set<Promise<void>>();
  #writes = new Map<string, Uint8Array | null>();
  #bytes = 0;
  #entries = 0;

  constructor(replacement: Replacement, mark: bigint) {
    this.#replacement = replacement;
    this.#expected = new Map([[RESTORE_KEY, mark]]);
  }

  async run(): Promise<void> {
    let past = "";
    try {
      for await (const chunk of this.#replacement.chunks) {
        const last = chunk.at(-1);
        if (last === undefined) continue;
        await this.#removeOthers(past, last.key + NUL, new Set(chunk.map(({ key }) => key)));
        for (const { key, value } of chunk) await this.#put(key, value);
        past = last.key + NUL;
        this.#entries += chunk.length;
        this.#replacement.progress?.(this.#entries);
      }
      await this.#removeOthers(past, PAST_ALL, new Set());
      this.#flush();
    } finally {
      await Promise.allSettled(this.#running);
    }
    await Promise.all(this.#running);
  }

  /** Removes what the store has in [from, to) and the snapshot has not. */
  async #removeOthers(from: string, to: string, present: ReadonlySet<string>): Promise<void> {
    for (let start = from; compareKeys(start, to) < 0; ) {
      const keys = await this.#replacement.storage.scan({ from: start, to, limit: SCAN_KEYS });
      for (const key of keys) if (!present.has(key)) await this.#put(key, null);
      const last = keys.at(-1);
      if (keys.length < SCAN_KEYS || last === undefined) return;
      start = last + NUL;
    }
  }

  async #put(key: string, value: Uint8Array | null): Promise<void> {
    if (key === RESTORE_KEY || this.#replacement.isKept(key)) return;
    this.#writes.set(key, value);
    this.#bytes += key.length + (value?.length ?? 0);
    if (this.#writes.size < COMMIT_ENTRIES && this.#bytes < COMMIT_BYTES) return;
    this.#flush();
    if (this.#running.size >= LANES) await Promise.race(this.#running);
  }

  #flush(): void {
    if (this.#writes.size === 0) return;
    const writes = this.#writes;
    [this.#writes, this.#bytes] = [new Map(), 0];
    const commit = this.#commit(writes).then(() => void this.#running.delete(commit));
    // A failure stays among those that are waited for.
    commit.catch(() => {});
    this.#running.add(commit);
  }

  async #commit(writes: ReadonlyMap<string, Uint8Array | null>): Promise<void> {
    const result = await this.#replacement.storage.commit({ expected: this.#expected, writes });
    if (result === "conflict") throw takenOver();
  }
}

function takenOver(): CofferError {
  return new CofferError("conflict", "another restore has taken over this storage; let it end");
}
