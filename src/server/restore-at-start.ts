// `coffer server -restore=FILE`: fills an empty storage from a snapshot before the server starts, and finishes a restore
// that was interrupted. Only from the command line, never through the API: a fresh server knows nobody yet, and who can
// start it with its configuration holds the storage and the seals already.
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { ProgramIo } from "#common/program.ts";
import type { ServerConfig } from "./config/server-config.ts";
import type { Seal } from "./seal/seal.ts";
import { replaceEntries } from "./snapshot/replace-entries.ts";
import { foreignOrigin, limitsOf } from "./snapshot/restorer.ts";
import { Spool } from "./snapshot/spool.ts";
import { requireStorageKind } from "./storage/registry.ts";
import { isBeingRestored } from "./storage/restore-record.ts";
import type { Storage } from "./storage/storage.ts";

export interface RestoreAtStart {
  readonly config: ServerConfig;
  readonly file: string;
  readonly seals: readonly Seal[];
  readonly io: Pick<ProgramIo, "clock" | "env">;
  readonly log: Log;
}

/** Does nothing where the storage holds data. Throws `invalid_request` for a file that is no whole snapshot. */
export async function restoreAtStart({ config, file, seals, io, log }: RestoreAtStart): Promise<void> {
  const kind = requireStorageKind(config.storage.type);
  const storage = await kind.open(config.storage.config, { log, clock: io.clock, environment: io.env });
  try {
    const isUnfinished = await isBeingRestored(storage);
    if (!isUnfinished && !(await isEmpty(storage))) {
      log.info("the storage holds data already, so nothing is restored to it", { file });
      return;
    }
    await using spool = await opened(file, kind.type);
    const origin = await foreignOrigin(spool, seals);
    const { id, created } = spool.checked.meta;
    if (origin === "unchecked")
      log.warn("no seal of the configuration opens the snapshot, so nothing proves who made it", { file });
    await replaceEntries({
      ...{ storage, clock: io.clock, snapshot: id, chunks: spool.chunks(), isKept: () => false },
      // Nobody serves this store: it is empty, or marked.
      ...{ graceMillis: 0, mayTakeOver: true },
    });
    log.info("restored", { file, snapshot: id, created, entries: spool.checked.trailer.entries });
  } finally {
    await storage.close();
  }
}

async function isEmpty(storage: Storage): Promise<boolean> {
  return (await storage.list("", { limit: 1 })).length === 0;
}

async function opened(file: string, storageType: string): Promise<Spool> {
  try {
    return await Spool.open(file, limitsOf(storageType));
  } catch (error) {
    if (error instanceof CofferError) throw error;
    throw new CofferError("invalid_request", `-restore: cannot read ${file}`, { cause: error });
  }
}
