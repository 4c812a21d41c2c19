// The few blobs that must be readable before unsealing: the seals' wrapped root key, the seal configuration. They are
// stored as they are, so nothing secret may be put here; their formats belong to the seal code. Transactions refuse
// these keys, so that nothing of a mount can pass for one.
import assert from "node:assert";
import type { Entry, Storage } from "../storage/storage.ts";

/** All plain keys begin like this: core/seal-config, core/seal-keys, … */
export const PLAIN_PREFIX = "core/seal-";

/** One plain blob to write. `expected`: the version read, undefined where there was nothing. `value` null deletes. */
export interface PlainWrite {
  readonly key: string;
  readonly value: Uint8Array | null;
  readonly expected: bigint | undefined;
}

export function isPlainKey(key: string): boolean {
  return key.startsWith(PLAIN_PREFIX);
}

/** A plain blob with its version, or undefined. */
export async function readPlain(storage: Storage, key: string): Promise<Entry | undefined> {
  assert(isPlainKey(key), `a plain key begins with ${PLAIN_PREFIX}`);
  const [entry] = await storage.get([key]);
  return entry;
}

/** Writes plain blobs, all or none; "conflict" when one of them is not at its expected version. */
export function commitPlain(storage: Storage, writes: readonly PlainWrite[]): Promise<"committed" | "conflict"> {
  const { expected, values } = plainBatch(writes);
  return storage.commit({ expected, writes: values });
}

/** The parts of a storage commit that these writes are, for commits that hold more. */
export function plainBatch(writes: readonly PlainWrite[]): {
  expected: Map<string, bigint | undefined>;
  values: Map<string, Uint8Array | null>;
} {
  for (const { key } of writes) assert(isPlainKey(key), `a plain key begins with ${PLAIN_PREFIX}`);
  return {
    expected: new Map(writes.map((write) => [write.key, write.expected])),
    values: new Map(writes.map((write) => [write.key, write.value])),
  };
}
