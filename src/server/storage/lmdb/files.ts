// The directory and files of a store looked at before LMDB sees them: its own checks come too late, since it ends the
// process for some files that are not its own. Must not open an environment (open.ts does).
import { randomUUID } from "node:crypto";
import { access, constants, link, mkdir, open, readdir, readFile, rm, stat, statfs, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { foreign } from "./format.ts";

/** The first page of an LMDB file has this near its beginning (0xBEEFC0DE); an empty file is one that is just made. */
const MAGIC = Buffer.from("dec0efbe", "hex");
const HEADER_BYTES = 152;
/** Number of the last page: 1 in a store that is just made. */
const LAST_PAGE_AT = 144;
/** MDB_DATA_VERSION of the LMDB in the package; what stands above it are flags. */
const DATA_VERSION = 2;
/** MDB_LOCK_VERSION, in the lower 12 bits of what follows the magic number in lock.mdb; above are sizes of its parts. */
const LOCK_VERSION = 2;
const LOCK_VERSION_MASK = 0xfff;
/** Takes keys up to 4,026 bytes. The first two pages are written at once. */
export const PAGE_BYTES = 8192;
/** Behind the magic number: version (4 bytes), address (8), size of the map (8). */
const PAGE_SIZE_AFTER_MAGIC = 24;
/** A new store takes a tenth of it. */
const ROOM_TO_MAKE_BYTES = 1024 * 1024;
/** Of 512 readers (open.ts) 32,976 are used; whole pages. */
const LOCK_FILE_BYTES = 9 * 4096;
/** What file systems answer that have no hard links: LMDB makes the file then. */
const WITHOUT_LINKS = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"];
/** What Vault and OpenBao leave in a directory: their data is not readable here. */
const OF_VAULT = ["vault.db", "raft", "core", "logical", "sys"];
/** statfs(2) types of file systems without dependable shared memory maps: NFS, SMB, CIFS. */
const NETWORK_FILE_SYSTEMS = [0x6969, 0xfe534d42, 0xff534d42];

/** Makes the directory where it is missing. Throws `invalid_request` or `unavailable` when LMDB must not be tried. */
export async function prepareDirectory(path: string, log: Log): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const cause = await reasonOf(path, error);
    const message = `cannot write to the storage directory ${path} (${messageOf(cause)}); check its owner and mount`;
    throw new CofferError("unavailable", message, { cause });
  }
  const names = await readdir(path);
  if (!names.includes("data.mdb") && names.some((name) => OF_VAULT.includes(name))) throw foreign(path);
  if (names.includes("data.mdb") && !(await isLmdbFile(join(path, "data.mdb")))) throw foreign(path);
  if (!names.includes("data.mdb") || (await isUnfinished(path))) await assertRoomToMake(path);
  if (names.includes("lock.mdb")) await assertLockFile(path);
  else await reserveLockFile(path);
  const { type } = await statfs(path);
  if (NETWORK_FILE_SYSTEMS.includes(type))
    log.warn("the storage directory is on a network file system; only one machine may use it", { path });
}

/**
 * The processes that have a lock on the file (proc_locks(5): "1: POSIX ADVISORY READ pid major:minor:inode 0 0"), each
 * once; LMDB holds one on lock.mdb for as long as an environment is open. Those of other containers do not show.
 */
export async function holdersOf(file: string): Promise<readonly number[]> {
  const inode = (await stat(file).catch(() => undefined))?.ino;
  const locks = await readFile("/proc/locks", "utf8").catch(() => "");
  const held = locks.split("\n").filter((line) => line.includes(`:${inode} `));
  return [...new Set(held.map((line) => Number(line.trim().split(/\s+/)[4])))];
}

/** The directory itself, or the next one above it that is there. */
export async function nearestFolder(path: string): Promise<string> {
  let folder = resolve(path);
  while (folder !== dirname(folder) && !(await exists(folder))) folder = dirname(folder);
  return folder;
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Making a path of directories fails with ENOENT on a read-only file system. */
async function reasonOf(path: string, error: unknown): Promise<unknown> {
  const folder = await nearestFolder(path);
  return access(folder, constants.W_OK | constants.X_OK).then(
    () => error,
    (cause: unknown) => cause,
  );
}

async function isLmdbFile(file: string): Promise<boolean> {
  const { bytesRead, buffer } = await readHead(file);
  const at = buffer.indexOf(MAGIC);
  return bytesRead === 0 || (at >= 0 && buffer.readUInt16LE(at + MAGIC.length) === DATA_VERSION);
}

/** A file that was not made to its end has never been a store; it is removed, unless somebody is making it. */
async function isUnfinished(path: string): Promise<boolean> {
  const file = join(path, "data.mdb");
  const { size } = await stat(file);
  const { bytesRead, buffer } = await readHead(file);
  const at = buffer.indexOf(MAGIC) + PAGE_SIZE_AFTER_MAGIC;
  // Another program's pages may be smaller, and its whole store as small as this.
  const isOurs = bytesRead === HEADER_BYTES && buffer.readUInt32LE(at) === PAGE_BYTES;
  // The head of a store that was used counts more pages: then it is one that was cut short (whole-file.ts).
  const isFresh = bytesRead === HEADER_BYTES && buffer.readBigUInt64LE(LAST_PAGE_AT) <= 1n;
  if (!isOurs || !isFresh || size >= 2 * PAGE_BYTES || (await isHeld(join(path, "lock.mdb")))) return false;
  await rm(file);
  return true;
}

/** LMDB ends the process when it cannot write its first pages. */
async function assertRoomToMake(path: string): Promise<void> {
  const { bavail, bsize } = await statfs(path);
  if (bavail * bsize >= ROOM_TO_MAKE_BYTES) return;
  const message = `the disk of ${path} has no room to make a store: ${bavail * bsize} bytes are left; make some`;
  throw new CofferError("unavailable", message);
}

/**
 * LMDB makes its lock file long without filling it, and writes to it through memory: on a disk that has become full the
 * first use of a new part would end the process (SIGBUS). So the file is made here, filled. Whoever comes second finds
 * it: it is put in place whole.
 */
async function reserveLockFile(path: string): Promise<void> {
  const draft = join(path, `lock.${randomUUID()}`);
  try {
    await writeFile(draft, Buffer.alloc(LOCK_FILE_BYTES), { mode: 0o600, flag: "wx" });
    await link(draft, join(path, "lock.mdb"));
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    if (code === "EEXIST" || WITHOUT_LINKS.includes(code)) return;
    const message = `the disk of ${path} has no room to open the store (${messageOf(cause)}); make some`;
    throw new CofferError("unavailable", message, { cause });
  } finally {
    await rm(draft, { force: true });
  }
}

/** A lock file that nobody holds is made anew by LMDB, whoever left it. */
async function assertLockFile(path: string): Promise<void> {
  const file = join(path, "lock.mdb");
  const { bytesRead, buffer } = await readHead(file);
  const version = buffer.readUInt32LE(MAGIC.length) & LOCK_VERSION_MASK;
  const isOurs = buffer.subarray(0, MAGIC.length).equals(MAGIC) && version === LOCK_VERSION;
  if (bytesRead === 0 || isOurs || !(await isHeld(file))) return;
  const message = `a program with another build of LMDB has the store in ${path} open; end that program first`;
  throw new CofferError("unavailable", message);
}

/** Whether a process of this machine has a lock on the file. */
const isHeld = async (file: string): Promise<boolean> => (await holdersOf(file)).length > 0;

async function readHead(file: string) {
  const handle = await open(file, "r").catch((cause: unknown) => {
    throw new CofferError("unavailable", `cannot read ${file} (${messageOf(cause)}); check its owner`, { cause });
  });
  try {
    return await handle.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
  } finally {
    await handle.close();
  }
}
