// How large the database of an etcd cluster may get: a part of the members' volumes.
import type { VaultCluster } from "../../../api/vault-cluster.ts";
import { quantityBytes } from "../quantity.ts";

/** Beyond, etcd warns (etcd.io: dev-guide/limit). */
const QUOTA_BYTES_MAX = 8 * 1024 ** 3;
/** The rest of the volume is for the log, for a snapshot that a member receives, and for the copy that defragmentation makes. */
const QUOTA_PART = 0.4;

/** How large the database may get: a part of the volume. */
export function quotaBytes({ spec: { storage } }: VaultCluster): number {
  const bytes = quantityBytes(storage.size) ?? 0;
  return Math.max(1024 ** 2, Math.min(QUOTA_BYTES_MAX, Math.floor(bytes * QUOTA_PART)));
}
