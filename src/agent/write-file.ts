// Puts content where a workload reads it: into a temporary file of the same folder, then by rename, so that a reader
// sees the old file or the new one, never a part. A file that is the same already is left alone.
import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { constantTimeEqual } from "#common/secret-bytes.ts";

/** Writes the file if its content or mode differs; makes missing folders. Tells whether it wrote. */
export async function writeFileAtomically(path: string, content: string | Buffer, mode: number): Promise<boolean> {
  const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : content;
  if (await isSame(path, bytes, mode)) return false;
  await mkdir(dirname(path), { recursive: true });
  const temporary = join(dirname(path), `.coffer-${randomBytes(8).toString("hex")}`);
  try {
    await writeNew(temporary, bytes, mode);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  return true;
}

async function writeNew(path: string, bytes: Buffer, mode: number): Promise<void> {
  const handle = await open(path, "wx", 0o600);
  try {
    await handle.writeFile(bytes);
    // The mode of `open` is cut by the umask; this one is not.
    await handle.chmod(mode);
  } finally {
    await handle.close();
  }
}

async function isSame(path: string, bytes: Buffer, mode: number): Promise<boolean> {
  try {
    const { mode: current } = await stat(path);
    return (current & 0o777) === mode && constantTimeEqual(await readFile(path), bytes);
  } catch (error) {
    // Not there, or not readable with the mode it has: either way it is written anew.
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "EACCES")) return false;
    throw error;
  }
}
