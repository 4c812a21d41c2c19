// Proves that a snapshot can be used, without touching the store: restores it into a scratch store of its own, opens
// every value there with the keys that are to open it, and asks the seals whether they open the snapshot's root key.
import assert from "node:assert";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { SealSet } from "../core/seal-set.ts";
import { parseSealKeys, ROOT_PURPOSE } from "../core/seal-store.ts";
import type { Seal } from "../seal/seal.ts";
import { findStorageKind } from "../storage/registry.ts";
import type { Storage } from "../storage/storage.ts";
import { type OwnKeys, requireOwnKeys } from "./own-keys.ts";
import { replaceEntries } from "./replace-entries.ts";
import { isOfKeys } from "./restorer.ts";
import type { Spool } from "./spool.ts";

export interface TrialParts {
  readonly barrier: Barrier;
  readonly seals: Pick<SealSet, "all">;
  readonly clock: Clock;
  readonly log: Log;
}

export interface TrialResult {
  readonly entries: number;
  /** Values that were decrypted; the others are the keys' own records. */
  readonly decrypted: number;
  /** Of the seals that open by themselves and have a copy of the snapshot's root key: whether they open it now. */
  readonly seals: Readonly<Record<string, boolean>>;
}

/** Throws `invalid_request` naming the first value that does not open, or for a snapshot of other keys. */
export async function tryRestore(spool: Spool, parts: TrialParts): Promise<TrialResult> {
  using keys = requireOwnKeys(spool, parts.barrier);
  const folder = await mkdtemp(join(tmpdir(), "coffer-trial-"));
  try {
    const storage = await scratchKind().open({ path: folder }, parts);
    try {
      return await tryIn(storage, spool, parts, keys);
    } finally {
      await storage.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The embedded store: nothing has to run for it. */
function scratchKind() {
  const kind = findStorageKind("lmdb");
  assert(kind !== undefined, "there is an embedded storage");
  return kind;
}

async function tryIn(storage: Storage, spool: Spool, parts: TrialParts, { former }: OwnKeys): Promise<TrialResult> {
  const { meta, trailer } = spool.checked;
  const chunks = spool.chunks();
  const whole = { graceMillis: 0, mayTakeOver: false, isKept: () => false };
  await replaceEntries({ storage, clock: parts.clock, snapshot: meta.id, chunks, ...whole });
  let [entries, decrypted] = [0, 0];
  for await (const batch of storage.snapshot()) {
    for (const { key, value } of batch) {
      entries++;
      if (isOfKeys(key)) continue;
      if (!parts.barrier.isGenuine(key, value, former))
        throw new CofferError("invalid_request", `the snapshot's value at path ${key} does not open`);
      decrypted++;
    }
  }
  if (entries !== trailer.entries)
    throw new CofferError("invalid_request", `${trailer.entries} entries were restored and ${entries} are there`);
  return { entries, decrypted, seals: await trySeals(spool, parts.seals.all) };
}

async function trySeals({ sealKeys }: Spool, seals: readonly Seal[]): Promise<Readonly<Record<string, boolean>>> {
  const found: Record<string, boolean> = {};
  for (const wrapped of sealKeys ? parseSealKeys(sealKeys).root : []) {
    const seal = seals.find(({ name }) => name === wrapped.seal);
    if (seal?.kind !== "auto") continue;
    using rootKey = await seal.unwrap(wrapped, ROOT_PURPOSE).catch(() => undefined);
    found[seal.name] = rootKey !== undefined;
  }
  return found;
}
