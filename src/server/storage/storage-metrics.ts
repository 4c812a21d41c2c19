// The size of the store as metrics. Which of them a kind of storage can tell is its own matter; what is not known is
// left out.
import type { Metrics } from "#common/metrics.ts";
import type { Storage, StorageUsage } from "./storage.ts";

export function registerStorageMetrics(metrics: Metrics, storage: Pick<Storage, "usage">): void {
  const gauge = (name: string, help: string, pick: (usage: StorageUsage) => number | undefined) =>
    // Worker processes see one store.
    metrics.gaugeOf(name, help, () => tolerantly(storage, pick), "max");
  gauge(
    "coffer_storage_size_bytes",
    "What the store takes: LMDB's file, etcd's database, PostgreSQL's table.",
    (usage) => usage.sizeBytes,
  );
  gauge("coffer_storage_used_bytes", "What of the store is in use.", (usage) => usage.usedBytes);
  gauge(
    "coffer_storage_free_bytes",
    "Free pages inside the store: used again by later writes, given back by compaction or defragmentation alone.",
    ({ sizeBytes, usedBytes }) =>
      sizeBytes === undefined || usedBytes === undefined ? undefined : sizeBytes - usedBytes,
  );
  gauge(
    "coffer_storage_limit_bytes",
    "What the store can grow to: etcd's quota; for LMDB its file and what its disk has left.",
    (usage) => usage.limitBytes,
  );
  gauge("coffer_storage_map_bytes", "Address space of LMDB's map.", (usage) => usage.mapBytes);
  gauge("coffer_storage_trouble", "1 while the store cannot be written to, or soon cannot.", (usage) =>
    usage.trouble === undefined ? 0 : 1,
  );
}

/** A scrape goes on when the storage is closed or away. */
function tolerantly(storage: Pick<Storage, "usage">, pick: (usage: StorageUsage) => number | undefined) {
  try {
    const usage = storage.usage?.();
    return usage && pick(usage);
  } catch {
    return undefined;
  }
}
