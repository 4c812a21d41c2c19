// Snapshots in a directory. A snapshot gets its name when all of it is on the disk; until then it is a file with the
// ending .part, which no listing shows. What a process that was killed left of such files goes with a later snapshot.
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { assertSnapshotName, type Destination, isSnapshotName } from "./destination.ts";

const PARTIAL = ".part";
/** Nobody writes to a file any more that has not grown for so long. */
const ABANDONED_MILLIS: Millis = 24 * 60 * 60_000;

const OWNER_ONLY = { directory: 0o700, file: 0o600 };

export function directoryDestination(directory: string, clock: Clock): Destination {
  const fileOf = (name: string) => {
    assertSnapshotName(name);
    return join(directory, name);
  };
  return {
    place: directory,
    async put(name, bytes) {
      const file = fileOf(name);
      const partial = file + PARTIAL;
      await mkdir(directory, { recursive: true, mode: OWNER_ONLY.directory });
      await removeAbandoned(directory, clock);
      try {
        await pipeline(bytes, createWriteStream(partial, { mode: OWNER_ONLY.file, flush: true }));
        await rename(partial, file);
        await syncDirectory(directory);
      } catch (error) {
        await rm(partial, { force: true });
        throw error;
      }
    },
    list: async () => (await readdir(directory)).filter(isSnapshotName).sort(),
    async get(name) {
      const file = fileOf(name);
      try {
        await stat(file);
      } catch (error) {
        throw new CofferError("not_found", `there is no snapshot ${name} (${messageOf(error)})`, { cause: error });
      }
      return createReadStream(file);
    },
    remove: (name) => rm(fileOf(name)),
  };
}

async function removeAbandoned(directory: string, clock: Clock): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.endsWith(PARTIAL) || !isSnapshotName(name.slice(0, -PARTIAL.length))) continue;
    const file = join(directory, name);
    const found = await stat(file).catch(() => undefined); // another node may have ended it meanwhile
    if (found && clock.now() - found.mtimeMs > ABANDONED_MILLIS) await rm(file, { force: true });
  }
}

/** The new name is durable when its directory is. */
async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, "r");
  await handle.sync();
}
