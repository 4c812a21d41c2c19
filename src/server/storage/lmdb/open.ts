// Opens an LMDB environment for a store, or says clearly why it cannot: a directory of something else, one that cannot
// be written, a newer format (files.ts looks first). Must not read or write entries (lmdb-storage.ts does).
import { type Database, open, type RootDatabase } from "lmdb";
import { systemClock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { reasonOf } from "./disk-room.ts";
import { PAGE_BYTES, prepareDirectory } from "./files.ts";
import {
  assertFormat,
  ENTRIES,
  encodeVersion,
  FORMAT_KEY,
  foreign,
  formatRecord,
  keyEncoder,
  VERSION_KEY,
} from "./format.ts";
import { assertWholeFile } from "./whole-file.ts";

export interface LmdbOptions {
  /** The directory; made when it is missing. */
  readonly path: string;
  readonly log: Log;
  /** Address space to reserve, in bytes. It costs no memory and no disk, and grows when it is used up. */
  readonly mapBytes?: number;
}

export interface Environment {
  readonly root: RootDatabase<Buffer, string>;
  readonly entries: Database<Buffer, string>;
}

/** 1 TiB: reserving it once is cheaper than growing in steps (17,000 against 12,000 commits a second, measured). */
const MAP_BYTES = 2 ** 40;
/** Processes times their open snapshots; LMDB's own default is 126. */
const READERS_MAX = 512;
/** Throws `invalid_request` for a directory that is not ours, `unavailable` for one that cannot be used now. */
export async function openEnvironment(options: LmdbOptions): Promise<Environment> {
  await prepareDirectory(options.path, options.log);
  await assertWholeFile(options.path);
  const root = openFiles(options);
  try {
    await checkFormat(root, options.path);
    return { root, entries: root.openDB<Buffer, string>({ ...ENCODING, name: ENTRIES }) };
  } catch (error) {
    await root.close();
    throw error;
  }
}

/** The same after a failure, at once: what is in the directory is known. Throws as openEnvironment. */
export function reopenEnvironment(options: LmdbOptions): Environment {
  const root = openFiles(options);
  return { root, entries: root.openDB<Buffer, string>({ ...ENCODING, name: ENTRIES }) };
}

const ENCODING = { encoding: "binary", keyEncoder, compression: false } as const;

function openFiles({ path, mapBytes }: LmdbOptions): RootDatabase<Buffer, string> {
  try {
    const root = open<Buffer, string>({
      ...ENCODING,
      path,
      noSubdir: false,
      pageSize: PAGE_BYTES,
      mapSize: mapBytes ?? MAP_BYTES,
      maxReaders: READERS_MAX,
      // Classic LMDB: a commit resolves when data and then the meta page are on disk.
      overlappingSync: false,
    });
    return root;
  } catch (cause) {
    throw openFailure(path, cause);
  }
}

function hasKeys(root: RootDatabase<Buffer, string>): boolean {
  for (const _key of root.getKeys({ start: "\0", limit: 1 })) return true;
  return false;
}

async function checkFormat(root: RootDatabase<Buffer, string>, path: string): Promise<void> {
  const record = root.getBinary(FORMAT_KEY);
  if (record !== undefined) return assertFormat(record, path);
  if (hasKeys(root)) throw foreign(path);
  try {
    await root.transaction(() => {
      if (root.getBinary(FORMAT_KEY) !== undefined) return; // Another process has just made the store.
      root.put(FORMAT_KEY, formatRecord());
      root.put(VERSION_KEY, encodeVersion(0n));
    });
  } catch (error) {
    throw openFailure(path, await reasonOf(error, systemClock));
  }
}

/** LMDB's code for a file that is not its own, and errno(3)'s. */
const MDB_INVALID = -30_793;
const DENIED = [1, 13];
const READ_ONLY = 30;
const NO_SPACE = [28, 122];

function openFailure(path: string, cause: unknown): CofferError {
  const code = cause instanceof Error && "code" in cause ? Number(cause.code) : 0;
  if (code === MDB_INVALID) return foreign(path, cause);
  const reason = messageOf(cause);
  const failure = (words: string) => new CofferError("unavailable", `${words} (${reason})`, { cause });
  if (DENIED.includes(code))
    return failure(`data.mdb or lock.mdb in ${path} belongs to somebody else; give both to the server's user`);
  if (code === READ_ONLY) return failure(`the file system of ${path} is read-only; mount it for writing`);
  if (NO_SPACE.includes(code)) return failure(`the disk of ${path} has no room to open the store; make some`);
  return failure(`cannot open the store in ${path}; check its disk and memory limits`);
}
