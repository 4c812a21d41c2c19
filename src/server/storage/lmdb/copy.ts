// A copy of a store while it is in use, and a store made smaller in its place while nobody uses it. LMDB copies what one
// read transaction sees; "compact" leaves the free pages out. Must not run in a server's event loop for long: it does not,
// the copying is in LMDB's own thread.
import { chmod, chown, mkdir, open, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, type Millis, within } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { CopyOptions, CopyResult } from "../registry.ts";
import { holdersOf, nearestFolder } from "./files.ts";
import { type Environment, openEnvironment } from "./open.ts";
import { readersIn } from "./processes.ts";
import { usageOf } from "./usage.ts";

const DATA = "data.mdb";
const LOCK = "lock.mdb";
/** Inside the store's directory, so that a rename puts it in place. */
const COMPACTED = "compacted";
const LOOK_MILLIS: Millis = 200;
/** In lock.mdb: how many slots of readers have been used since the store was last opened by a process that was alone. */
const SLOTS_AT = 16;
/** More than this process uses. A slot that is not used costs nothing. */
const SLOTS_ADDED = 8;

interface Copying extends CopyOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Copies the store to an empty or absent directory, as of one instant. Throws `invalid_request` or `unavailable`. */
export async function copyStore(options: Copying & { readonly target: string }): Promise<CopyResult> {
  const { path, target, isCompact } = options;
  if ((await readdir(target).catch((): string[] => [])).length > 0)
    throw new CofferError("invalid_request", `${target} is not empty; name another directory for the copy`);
  await using environment = await openExisting(path, options.log);
  const before = usageOf(environment, path, 0);
  await assertRoom(target, isCompact ? before.usedBytes : before.sizeBytes);
  await copyTo(environment, target, options);
  return { beforeBytes: before.sizeBytes, afterBytes: (await stat(join(target, DATA))).size };
}

/** Makes the store smaller. Throws `invalid_request` while a process has it open. */
export async function compactStore(options: Copying): Promise<CopyResult> {
  const { path } = options;
  const target = join(path, COMPACTED);
  await rm(target, { recursive: true, force: true });
  const slots = await raiseSlots(path);
  await using environment = await openExisting(path, options.log);
  await assertAlone(environment, path);
  if (slots !== undefined && slotsOf(environment) >= slots) throw inUse();
  const before = usageOf(environment, path, 0);
  await assertRoom(path, before.usedBytes);
  const state = stateOf(environment);
  try {
    await copyTo(environment, target, { ...options, isCompact: true });
    // A process that came meanwhile would go on with the old file.
    await assertAlone(environment, path);
    if (stateOf(environment) !== state) throw inUse();
    await environment.root.close();
    await rename(join(target, DATA), join(path, DATA));
    await sync(path);
  } finally {
    await rm(target, { recursive: true, force: true });
  }
  return { beforeBytes: before.sizeBytes, afterBytes: (await stat(join(path, DATA))).size };
}

async function openExisting(path: string, log: Log): Promise<Environment & AsyncDisposable> {
  await stat(join(path, DATA)).catch((cause: unknown) => {
    throw new CofferError("invalid_request", `there is no store in ${path}`, { cause });
  });
  const environment = await openEnvironment({ path, log });
  return { ...environment, [Symbol.asyncDispose]: () => environment.root.close() };
}

async function copyTo(environment: Environment, target: string, options: Copying): Promise<void> {
  const { path, isCompact, clock, progress } = options;
  const file = join(target, DATA);
  const usage = usageOf(environment, path, 0);
  const total = isCompact ? usage.usedBytes : usage.sizeBytes;
  try {
    await mkdir(target, { recursive: true, mode: 0o700 });
    const work = environment.root.backup(target, isCompact);
    for (let told: unknown = "late"; told === "late"; ) {
      told = await within(clock, LOOK_MILLIS, work);
      progress?.(Math.min(await sizeOf(file), total), total);
    }
    await sync(file);
    await sync(target);
    const { uid, gid, mode } = await stat(join(path, DATA));
    await chmod(file, mode & 0o777);
    await chown(file, uid, gid);
  } catch (cause) {
    await rm(file, { force: true });
    throw new CofferError("unavailable", `the copy to ${target} failed (${messageOf(cause)})`, { cause });
  }
}

async function assertRoom(target: string, bytes: number): Promise<void> {
  const folder = await nearestFolder(target);
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= bytes) return;
  const message = `the disk of ${folder} has ${bavail * bsize} bytes left, and the copy needs ${bytes}; make room first`;
  throw new CofferError("unavailable", message);
}

/** As far as this container shows. */
async function assertAlone({ root }: Environment, path: string): Promise<void> {
  root.readerCheck();
  const pids = [...readersIn(root.readerList()), ...(await holdersOf(join(path, LOCK)))];
  if (pids.some((pid) => pid !== process.pid)) throw inUse();
}

/**
 * A process of another container does not show in /proc, but it keeps LMDB from starting its table of readers anew when
 * the store is opened. So the count of slots is raised first (slots without a reader are passed over): who opens the
 * store alone finds it low again. Gives what it is now, undefined without a lock file.
 */
async function raiseSlots(path: string): Promise<number | undefined> {
  const handle = await open(join(path, LOCK), "r+").catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(4), 0, 4, SLOTS_AT);
    if (bytesRead < 4) return undefined;
    const slots = buffer.readUInt32LE(0) + SLOTS_ADDED;
    buffer.writeUInt32LE(slots, 0);
    await handle.write(buffer, 0, 4, SLOTS_AT);
    return slots;
  } finally {
    await handle.close();
  }
}

function slotsOf({ root }: Environment): number {
  const stats = root.getStats();
  return "numReaders" in stats ? Number(stats.numReaders) : 0;
}

const inUse = () =>
  new CofferError("invalid_request", "a process has the store open; stop the server first, then compact");

/** Changes with every commit. */
function stateOf({ root }: Environment): string {
  root.resetReadTxn();
  const stats = root.getStats();
  return "lastTxnId" in stats ? String(stats.lastTxnId) : "";
}

const sizeOf = (file: string): Promise<number> =>
  stat(file).then(
    ({ size }) => size,
    () => 0,
  );

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
