// What an etcd cluster takes, before it is filled: the size of a request, operations of a transaction, and what is left of
// its quota. Beyond the quota etcd refuses every write until somebody has cleared the alarm.
import type { Clock } from "#common/clock.ts";
import type { StorageCapacity } from "../registry.ts";
import { EtcdCluster } from "./cluster.ts";
import { statusOf } from "./housekeeping.ts";
import type { EtcdOptions } from "./options.ts";

/** Of a request that writes one value: its key twice, another record's, and what etcd adds. */
const BESIDE_VALUE_BYTES = 12 * 1024;
/** Of etcd's 128 operations of a transaction, with room for the comparisons that a commit adds. */
const BATCH_ENTRIES_MAX = 100;

/** Connects once. Throws `invalid_request` or `unavailable`. */
export async function capacityOf(options: EtcdOptions, clock: Clock): Promise<StorageCapacity> {
  const cluster = new EtcdCluster(options, clock);
  try {
    const status = await statusOf(cluster);
    return {
      valueBytesMax: options.requestBytesMax - BESIDE_VALUE_BYTES,
      batchEntriesMax: BATCH_ENTRIES_MAX,
      ...(status !== undefined && { freeBytes: (status.quota || options.quotaBytes) - status.sizeInUse }),
      freeOf: "the quota of etcd (--quota-backend-bytes)",
      advice: "raise --max-request-bytes of its members and storage.max_request_bytes",
    };
  } finally {
    cluster.close();
  }
}
