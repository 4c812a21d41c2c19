// What a snapshot's file says of itself, with all its checksums looked at: for the command line, without keys or server.
import { createReadStream } from "node:fs";
import { SnapshotReader } from "./snapshot/read-snapshot.ts";

/** Throws `invalid_request` when the file is no whole snapshot. */
export async function inspectSnapshot(file: string) {
  const reader = new SnapshotReader(createReadStream(file));
  const meta = await reader.meta();
  for await (const _chunk of reader.chunks(meta));
  const { trailer, sealed } = reader.finish();
  return {
    ...{ id: meta.id, created: meta.created, cluster_name: meta.cluster_name, cluster_id: meta.cluster_id },
    ...{ storage: meta.storage, coffer_version: meta.coffer_version, seals: meta.seals.map(({ name }) => name) },
    ...{ entries: trailer.entries, bytes: trailer.bytes, keyring_term: sealed.term },
  };
}
