// The mark of a store that a migration is filling. While it is there no server accepts the store, and a migration may
// go on; the commit that removes it is the moment from which the copy counts. Format 1, at core/seal-migration, plain:
//
//   { "format": "coffer-migration", "version": 1, "run": unique to each run, "source": the type of the storage that is
//     copied, "identity": what tells that store from others, "begun": milliseconds since the epoch }
import { CofferError } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import { type Infer, number, object, string } from "#common/schema.ts";
import type { Storage } from "./storage.ts";

/** Among the plain blobs, which no transaction writes, so that nothing of a mount can pass for it. */
export const MIGRATION_KEY = "core/seal-migration";
const FORMAT = { format: "coffer-migration", version: 1 };

const recordSchema = object({
  format: string,
  version: number,
  run: string,
  source: string,
  identity: string,
  begun: number,
});
export type MigrationRecord = Omit<Infer<typeof recordSchema>, "format" | "version">;

export interface StoredMigration {
  readonly record: MigrationRecord;
  /** Of the entry, for the commits that must be this run's. */
  readonly version: bigint;
}

export function encodeMigration(record: MigrationRecord): Uint8Array {
  return Buffer.from(JSON.stringify({ ...FORMAT, ...record }));
}

/** The mark, or undefined. Throws `invalid_request` for one of a newer format. */
export async function readMigration(storage: Storage): Promise<StoredMigration | undefined> {
  const [entry] = await storage.get([MIGRATION_KEY]);
  return entry && { record: decodeMigration(entry.value), version: entry.version };
}

/** Throws `invalid_request` when a record is of another format. */
export function decodeMigration(bytes: Uint8Array): MigrationRecord {
  const { format, version, ...record } = recordSchema.parse(
    parseJson(Buffer.from(bytes).toString("utf8")),
    "migration record",
  );
  if (format === FORMAT.format && version === FORMAT.version) return record;
  const message = `the storage is marked by a migration of format ${version}, which this program does not know; use a newer one`;
  throw new CofferError("invalid_request", message);
}

/** Throws `invalid_request` for a store that a migration has not finished: it holds a part of the data. */
export function assertWhole(mark: unknown): void {
  if (mark === undefined) return;
  const message =
    "this storage is being filled by a migration that is not finished, so it holds only a part of the data; run `coffer storage migrate` again with the same -from and -to until it says that it is done";
  throw new CofferError("invalid_request", message);
}
