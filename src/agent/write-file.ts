// Puts content where a workload reads it: into a temporary file of the same folder, then by rename, so that a reader
// sees the old file or the new one, never a part. A file that is the same already is left alone.
import { randomBytes } from "node:crypto";
import { copyFile, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { constantTimeEqual } from "#common/secret-bytes.ts";

export interface WriteOptions {
  /** Numbers; the writer's own when left out. */
  readonly owner?: number | undefined;
  readonly group?: number | undefined;
  /** The content of before stays beside it, as PATH.bak. */
  readonly backup?: boolean | undefined;
  /** False: a missing folder is an error. */
  readonly createDirectories?: boolean | undefined;
}

/** Writes the file if its content, mode or owner differs; makes missing folders. Tells whether it wrote. */
export async function writeFileAtomically(
  path: string,
  content: string | Buffer,
  mode: number,
  options: WriteOptions = {},
): Promise<boolean> {
  const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : content;
  if (await isSame(path, bytes, mode, options)) return false;
  if (options.createDirectories !== false) await mkdir(dirname(path), { recursive: true });
  const temporary = temporaryBeside(path);
  try {
    await writeNew(temporary, bytes, mode, options);
    if (options.backup === true) await keepLast(path);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  return true;
}

function temporaryBeside(path: string): string {
  return join(dirname(path), `.coffer-${randomBytes(8).toString("hex")}`);
}

async function writeNew(path: string, bytes: Buffer, mode: number, { owner, group }: WriteOptions): Promise<void> {
  const handle = await open(path, "wx", 0o600);
  try {
    await handle.writeFile(bytes);
    // -1 leaves it as it is (chown(2)).
    if (owner !== undefined || group !== undefined) await handle.chown(owner ?? -1, group ?? -1);
    // The mode of `open` is cut by the umask; this one is not.
    await handle.chmod(mode);
  } finally {
    await handle.close();
  }
}

/** A copy, so that there is no instant without the file itself. It keeps the mode. */
async function keepLast(path: string): Promise<void> {
  const temporary = temporaryBeside(path);
  try {
    await copyFile(path, temporary);
    await rename(temporary, `${path}.bak`);
  } catch (error) {
    await rm(temporary, { force: true });
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}

async function isSame(path: string, bytes: Buffer, mode: number, { owner, group }: WriteOptions): Promise<boolean> {
  try {
    const now = await stat(path);
    if ((now.mode & 0o777) !== mode || now.uid !== (owner ?? now.uid) || now.gid !== (group ?? now.gid)) return false;
    return constantTimeEqual(await readFile(path), bytes);
  } catch (error) {
    // Not there, or not readable with the mode it has: either way it is written anew.
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "EACCES")) return false;
    throw error;
  }
}
