// Where scheduled snapshots are kept: a directory, or a bucket of S3 or of a store that speaks as S3 does. A name is
// made of the time, so that names sort as the snapshots do; other files in the same place are left alone.
import type { Readable } from "node:stream";
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { SnapshotsStanza } from "../config/server-config.ts";

export interface Destination {
  /** For people: "/backup", "s3://bucket/prefix". */
  readonly place: string;
  /** Stores all of it or nothing. */
  put(name: string, bytes: Readable): Promise<void>;
  /** Names of snapshots, oldest first. */
  list(): Promise<readonly string[]>;
  /** Throws `not_found`. */
  get(name: string): Promise<Readable>;
  remove(name: string): Promise<void>;
}

const NAME = /^coffer-\d{8}T\d{6}Z-[0-9a-f]{8}\.snap$/;

/** "coffer-20260101T000000Z-0123abcd.snap" */
export function snapshotName(millis: number, id: string): string {
  const time = new Date(millis).toISOString().replace(/\.\d+/, "").replace(/[-:]/g, "");
  return `coffer-${time}-${id.slice(0, 8)}.snap`;
}

export const isSnapshotName = (name: string) => NAME.test(name);

/** Throws `invalid_request` for what cannot be a name, so that nothing else of a destination is ever touched. */
export function assertSnapshotName(name: string): void {
  if (!isSnapshotName(name))
    throw new CofferError("invalid_request", "name must be that of a stored snapshot, see sys/storage/snapshot-status");
}

/** Opens the destination of a configuration; what it needs is loaded only then. */
export async function openDestination(stanza: SnapshotsStanza, clock: Clock): Promise<Destination> {
  if (stanza.bucket === undefined) {
    const { directoryDestination } = await import("./directory-destination.ts");
    return directoryDestination(stanza.directory ?? "", clock);
  }
  const { s3Destination } = await import("./s3-destination.ts");
  return s3Destination({ ...stanza, bucket: stanza.bucket });
}
