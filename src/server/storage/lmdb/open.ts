// Opens an LMDB environment for a store, or says clearly why it cannot: a directory of something else, one that cannot
// be written, a newer format. Must not read or write entries (lmdb-storage.ts does).
import { access, constants, mkdir, open as openFile, readdir, statfs } from "node:fs/promises";
import { join } from "node:path";
import { type Database, open, type RootDatabase } from "lmdb";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
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
/** Takes keys up to 4,026 bytes. */
const PAGE_BYTES = 8192;
/** Processes times their open snapshots; LMDB's own default is 126. */
const READERS_MAX = 512;
/** The first page of an LMDB file has this near its beginning (0xBEEFC0DE); an empty file is one that is just made. */
const MAGIC = Buffer.from("dec0efbe", "hex");
const HEADER_BYTES = 64;
/** What Vault and OpenBao leave in a directory: their data is not readable here. */
const OF_VAULT = ["vault.db", "raft", "core", "logical", "sys"];
/** statfs(2) types of file systems without dependable shared memory maps: NFS, SMB, CIFS. */
const NETWORK_FILE_SYSTEMS = [0x6969, 0xfe534d42, 0xff534d42];

/** Throws `invalid_request` for a directory that is not ours, `unavailable` for one that cannot be used now. */
export async function openEnvironment(options: LmdbOptions): Promise<Environment> {
  await prepareDirectory(options);
  const root = openFiles(options);
  try {
    await checkFormat(root, options.path);
    return { root, entries: root.openDB<Buffer, string>({ ...ENCODING, name: ENTRIES }) };
  } catch (error) {
    await root.close();
    throw error;
  }
}

async function prepareDirectory({ path, log }: LmdbOptions): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const message = `cannot write to the storage directory ${path} (${messageOf(cause)}); check its owner and mount`;
    throw new CofferError("unavailable", message, { cause });
  }
  const names = await readdir(path);
  if (!names.includes("data.mdb") && names.some((name) => OF_VAULT.includes(name))) throw foreign(path);
  if (names.includes("data.mdb") && !(await isLmdbFile(join(path, "data.mdb")))) throw foreign(path);
  const { type } = await statfs(path);
  if (NETWORK_FILE_SYSTEMS.includes(type))
    log.warn("the storage directory is on a network file system; only one machine may use it", { path });
}

/** LMDB's own check of the file comes too late: it ends the process for some that are not its own. */
async function isLmdbFile(file: string): Promise<boolean> {
  await using handle = await openFile(file, "r");
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
  return bytesRead === 0 || buffer.includes(MAGIC);
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
  await root.transaction(() => {
    if (root.getBinary(FORMAT_KEY) !== undefined) return; // Another process has just made the store.
    root.put(FORMAT_KEY, formatRecord());
    root.put(VERSION_KEY, encodeVersion(0n));
  });
}

/** LMDB's codes for files that are not its own or of another make. */
const MDB_INVALID = -30_793;
const MDB_VERSION_MISMATCH = -30_794;

function openFailure(path: string, cause: unknown): CofferError {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === MDB_INVALID || code === MDB_VERSION_MISMATCH) return foreign(path, cause);
  const message = `cannot open the store in ${path} (${messageOf(cause)}); check that no other program holds its files`;
  return new CofferError("unavailable", message, { cause });
}
