// A server whose process dies at a named commit of the keyring's life, as a program:
// `mortal-store-server.ts <configuration> <folder of the LMDB store> <folder of the points>`. A file of a point's name in
// the last folder says that whoever comes there first dies. Claims are short, so that others take over soon.
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#common/clock.ts";
import type { Log } from "#common/log.ts";
import { KEYRING_KEY } from "#server/barrier/keyring.ts";
import { FENCE_KEY } from "#server/barrier/term-fence.ts";
import { requireStorageKind } from "#server/storage/registry.ts";
import { RESTORE_KEY } from "#server/storage/restore-record.ts";
import type { CommitBatch, Storage } from "#server/storage/storage.ts";
import { serveWith } from "./server-program.ts";

const CLAIM_SECONDS = 1;
const REWRAP_KEY = "core/sealwrap/rewrap";

const [, , file = "", store = "", points = ""] = process.argv;

/** What a commit is to the keyring's life. */
function nameOf({ expected, writes }: CommitBatch): string | undefined {
  if (writes.has(KEYRING_KEY) && expected.has(RESTORE_KEY)) return "retirement";
  if (writes.has(KEYRING_KEY) && writes.has(FENCE_KEY)) return "rotation";
  return writes.has(REWRAP_KEY) && writes.size > 1 ? "slice" : undefined;
}

async function at(point: string): Promise<void> {
  try {
    await unlink(join(points, point));
  } catch {
    return; // not wanted here, or another process was first
  }
  process.kill(process.pid, "SIGKILL");
  await new Promise(() => {});
}

async function openMortal(log: Log): Promise<Storage> {
  const storage = await requireStorageKind("lmdb").open({ path: store }, { log, clock: systemClock, environment: {} });
  const commit = storage.commit.bind(storage);
  storage.commit = async (batch) => {
    const name = nameOf(batch);
    if (name) await at(`before-${name}`);
    const outcome = await commit(batch);
    if (name && outcome === "committed") await at(`after-${name}`);
    return outcome;
  };
  return storage;
}

await serveWith(file, async (log) => ({ storage: await openMortal(log), claimSeconds: CLAIM_SECONDS }));
