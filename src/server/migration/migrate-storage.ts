// Copies an encrypted store from one storage to another, entry by entry as it is: nothing is decrypted and no seal is
// asked. A run compares and writes what differs, so an interrupted one is simply run again. Opens no configuration
// (open-stores.ts does).
import { createHash, randomUUID } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { encodeMigration, MIGRATION_KEY, readMigration, type StoredMigration } from "../storage/migration-record.ts";
import type { StorageCapacity } from "../storage/registry.ts";
import { isBeingRestored } from "../storage/restore-record.ts";
import type { Storage } from "../storage/storage.ts";
import { StoreDigest, type StoreTotals } from "./store-digest.ts";
import { TargetWriter } from "./target-writer.ts";
import { entriesOf, LAST_KEY, pairsOf } from "./walk-entries.ts";

export interface MigrationSide {
  readonly storage: Storage;
  /** Of the storage: "lmdb". */
  readonly type: string;
}

export interface MigrationOptions {
  readonly source: MigrationSide;
  readonly target: MigrationSide & { readonly capacity: StorageCapacity };
  /** Throws when a process has the source open, where that can be told. Asked at the beginning and before the end. */
  readonly assertUnused: () => Promise<void>;
  /** Servers may be at work on the source: what is copied stays unfinished. */
  readonly isOnline: boolean;
  readonly isDryRun: boolean;
  readonly clock: Clock;
  readonly progress: MigrationProgress;
  readonly signal: AbortSignal;
}

export type MigrationStage = "reading" | "copying" | "verifying";
export interface MigrationProgress {
  /** `total` is known from the second stage on. */
  step(stage: MigrationStage, entries: number, total: number | undefined): void;
}

export interface MigrationResult {
  readonly outcome: "done" | "unfinished" | "planned";
  readonly source: StoreTotals;
  /** Of the destination, after the last look at all of it. */
  readonly target: StoreTotals | undefined;
  /** Whether an earlier run had begun. */
  readonly isResumed: boolean;
  readonly written: number;
  readonly removed: number;
  /** Entries that were there already and equal. */
  readonly unchanged: number;
}

/** Records that are unique to a store and are not written again; the first one that is there names the store. */
const IDENTITY_KEYS = ["core/cluster", "core/seal-keys", "core/seal-config"];
/** What a storage needs besides keys and values: pages, indexes, history. */
const SPACE_FACTOR = 1.5;

/** Throws `invalid_request` when it may not be done, `conflict` when somebody writes meanwhile. */
export async function migrateStorage(options: MigrationOptions): Promise<MigrationResult> {
  const { source, target } = options;
  if (!options.isOnline && !options.isDryRun) await options.assertUnused();
  const identity = await identityOf(source.storage);
  const before = await checkTarget(target.storage, identity);
  using sentry = watchFor(source.storage);
  const totals = await measure(options);
  assertCapacity(totals, target.capacity, target.type);
  const plan = { source: totals, target: undefined, isResumed: before !== undefined };
  if (options.isDryRun) return { ...plan, outcome: "planned", written: 0, removed: 0, unchanged: 0 };
  const mark = await placeMark(options, identity, before);
  const writer = new TargetWriter(target.storage, mark, target.capacity);
  const counts = await copy(options, writer, totals.entries);
  if (options.isOnline) return { ...plan, ...counts, outcome: "unfinished" };
  const verified = await verify(options, totals.entries);
  if (sentry.hasChanged || verified.source.digest !== totals.digest) throw changedMeanwhile();
  await options.assertUnused();
  await writer.finish();
  return { ...plan, ...counts, ...verified, outcome: "done" };
}

/** Throws unless there is a whole store. */
async function identityOf(storage: Storage): Promise<string> {
  if ((await readMigration(storage)) !== undefined)
    throw new CofferError(
      "invalid_request",
      "the source is itself the destination of a migration that is not finished",
    );
  if (await isBeingRestored(storage))
    throw new CofferError(
      "invalid_request",
      "the source holds a part of a snapshot; let its restore come to an end first",
    );
  for (const entry of await storage.get(IDENTITY_KEYS))
    if (entry !== undefined) return createHash("sha256").update(entry.value).digest("hex");
  const [first] = await storage.scan({ from: "", to: LAST_KEY, limit: 1 });
  if (first === undefined) throw new CofferError("invalid_request", "the source is empty; check what -from names");
  throw new CofferError("invalid_request", "the source was never initialised by a server; there is nothing to migrate");
}

/** The mark of an earlier run of the same source. Throws for a destination that holds anything else. */
async function checkTarget(storage: Storage, identity: string): Promise<StoredMigration | undefined> {
  const mark = await readMigration(storage);
  if (mark === undefined) {
    const [first] = await storage.scan({ from: "", to: LAST_KEY, limit: 1 });
    if (first === undefined) return undefined;
    throw new CofferError("invalid_request", "the destination is not empty; name an empty one, or empty it first");
  }
  if (mark.record.identity === identity) return mark;
  const message =
    "the destination holds an unfinished migration of another store; finish that one, or empty the destination first";
  throw new CofferError("invalid_request", message);
}

/** Gives the version of this run's mark. A run that was still going finds it changed and ends. */
async function placeMark(
  { source, target, clock }: MigrationOptions,
  identity: string,
  before: StoredMigration | undefined,
): Promise<bigint> {
  const begun = before?.record.begun ?? clock.now();
  const mark = encodeMigration({ run: randomUUID(), source: source.type, identity, begun });
  const expected = new Map([[MIGRATION_KEY, before?.version]]);
  const outcome = await target.storage.commit({ expected, writes: new Map([[MIGRATION_KEY, mark]]) });
  const placed = outcome === "committed" ? await readMigration(target.storage) : undefined;
  if (placed === undefined) throw new CofferError("conflict", "another migration has just begun on the destination");
  if (before === undefined) await assertStillEmpty(target.storage, placed.version);
  return placed.version;
}

/** A server may have initialised the destination between the look and the mark. */
async function assertStillEmpty(storage: Storage, version: bigint): Promise<void> {
  const keys = await storage.scan({ from: "", to: LAST_KEY, limit: 2 });
  if (keys.every((key) => key === MIGRATION_KEY)) return;
  await storage.commit({
    expected: new Map([[MIGRATION_KEY, version]]),
    writes: new Map([[MIGRATION_KEY, null]]),
  });
  throw new CofferError(
    "invalid_request",
    "a server has just begun to use the destination; stop it and empty the store",
  );
}

async function measure({ source, progress, signal }: MigrationOptions): Promise<StoreTotals> {
  const digest = new StoreDigest();
  for await (const { key, value } of entriesOf(source.storage, MIGRATION_KEY)) {
    assertGoingOn(signal);
    digest.add(key, value);
    progress.step("reading", digest.entries, undefined);
  }
  return digest.finish();
}

function assertCapacity({ largest, bytes }: StoreTotals, capacity: StorageCapacity, type: string): void {
  const { valueBytesMax = Infinity, freeBytes = Infinity, freeOf = "its place" } = capacity;
  if (largest.bytes > valueBytesMax) {
    const size = `the entry at ${largest.key} has ${largest.bytes} bytes, and ${type} takes ${valueBytesMax} as it is set up`;
    throw new CofferError("too_large", `${size}; ${capacity.advice ?? "choose another storage"}`);
  }
  if (bytes * SPACE_FACTOR <= freeBytes) return;
  const needed = `the store has ${bytes} bytes and needs about ${Math.ceil(bytes * SPACE_FACTOR)}`;
  throw new CofferError("too_large", `${needed}, but ${freeOf} has ${freeBytes} left; make room first`);
}

async function copy({ source, target, progress, signal }: MigrationOptions, writer: TargetWriter, total: number) {
  let [written, removed, unchanged] = [0, 0, 0];
  for await (const { key, source: from, target: to } of pairsOf(source.storage, target.storage, MIGRATION_KEY)) {
    assertGoingOn(signal);
    if (from !== undefined && to !== undefined && Buffer.compare(from.value, to.value) === 0) unchanged++;
    else {
      await writer.put(key, from?.value ?? null, to?.version);
      if (from === undefined) removed++;
      else written++;
    }
    progress.step("copying", written + unchanged, total);
  }
  await writer.flush();
  return { written, removed, unchanged };
}

/** Reads both sides again. Throws `conflict` for any difference. */
async function verify({ source, target, progress, signal }: MigrationOptions, total: number) {
  const [left, right] = [new StoreDigest(), new StoreDigest()];
  for await (const { key, source: from, target: to } of pairsOf(source.storage, target.storage, MIGRATION_KEY)) {
    assertGoingOn(signal);
    if (from !== undefined) left.add(key, from.value);
    if (to !== undefined) right.add(key, to.value);
    progress.step("verifying", left.entries, total);
  }
  const totals = { source: left.finish(), target: right.finish() };
  if (totals.source.digest !== totals.target.digest) throw changedMeanwhile();
  return totals;
}

const changedMeanwhile = () =>
  new CofferError(
    "conflict",
    "the source changed while it was copied, so a server is still at work on it; stop every server and run this again, which copies the differences",
  );

function assertGoingOn(signal: AbortSignal): void {
  if (signal.aborted) throw new CofferError("unavailable", "stopped; run it again to go on");
}

/** Whether somebody else wrote since. "all" may also mean that a connection was made, so it tells nothing. */
function watchFor(storage: Storage): Disposable & { readonly hasChanged: boolean } {
  let hasChanged = false;
  const watch = storage.watch((keys) => {
    hasChanged ||= keys !== "all";
  });
  return {
    get hasChanged() {
      return hasChanged;
    },
    [Symbol.dispose]: () => watch[Symbol.dispose](),
  };
}
