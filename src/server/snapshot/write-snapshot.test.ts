// Taking a snapshot: how far it reads ahead of who takes the bytes, and that it lets go of the storage.
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "../barrier/barrier.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage, StoredEntry } from "../storage/storage.ts";
import { CHUNK_BYTES } from "./format.ts";
import { takeSnapshot } from "./write-snapshot.ts";

/** A store without an end: each batch fills a member. */
async function endless() {
  const memory = openMemoryStorage();
  const clock = new FakeClock();
  const seen = { batches: 0, isLeft: false };
  async function* snapshot(): AsyncGenerator<readonly StoredEntry[]> {
    try {
      for (;;) {
        const key = `k${String(seen.batches++).padStart(9, "0")}`;
        yield [{ key, value: randomBytes(CHUNK_BYTES) }];
      }
    } finally {
      seen.isLeft = true;
    }
  }
  const storage: Storage = {
    get: (keys) => memory.get(keys),
    list: (prefix, page) => memory.list(prefix, page),
    scan: (range) => memory.scan(range),
    commit: (batch) => memory.commit(batch),
    watch: (onChange) => memory.watch(onChange),
    snapshot,
    close: () => memory.close(),
  };
  const barrier = new Barrier({ storage, clock, log: silentLog });
  using rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  const origin = { storage, barrier, clock, storageType: "memory", clusterName: "", clusterId: "", version: "1" };
  return { seen, taken: await takeSnapshot(origin) };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 100));

describe("taking a snapshot", () => {
  it("reads no further ahead than a few members, and lets go when nobody takes more", async () => {
    const { seen, taken } = await endless();
    await settled();
    const ahead = seen.batches;
    expect(ahead).toBeLessThan(8);
    await settled();
    expect(seen.batches).toBe(ahead);
    let bytes = 0;
    for await (const chunk of taken.bytes) {
      bytes += chunk.length;
      if (bytes > 10 * CHUNK_BYTES) break;
    }
    expect(seen.batches).toBeGreaterThan(ahead);
    expect(seen.batches).toBeLessThan(20);
    await expect.poll(() => seen.isLeft).toBe(true);
  });
});
