import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { noMountConfig } from "../mounts/mount-record.ts";
import { createMount, endMount, readMount, removeMount, writeMount, writeMovedMount } from "../mounts/mount-table.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { mountOf } from "./mount-of.ts";

const MOUNTS = 60;

/** A store with many mounts, and how many keys it was asked for. */
async function openStore() {
  const storage = openMemoryStorage();
  const asked = { keys: 0 };
  const get = storage.get.bind(storage);
  storage.get = (keys) => {
    asked.keys += keys.length;
    return get(keys);
  };
  const barrier = new Barrier({ storage, clock: new FakeClock(), log: silentLog });
  using rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  const run = async <T>(work: (tx: Transaction) => Promise<T>): Promise<T> => {
    const tx = barrier.begin();
    const result = await work(tx);
    await tx.commit();
    asked.keys = 0;
    return result;
  };
  const config = { type: "kv", description: "", options: {}, config: noMountConfig, local: false, sealWrap: false };
  await run(async (tx) => {
    for (let n = 0; n < MOUNTS; n++) await createMount(tx, { ...config, path: `m${n}/` });
  });
  const uuid = await run(async (tx) => (await readMount(tx, "m5/"))?.uuid ?? "");
  return { asked, run, uuid, find: () => mountOf(barrier.begin(), "m5/", uuid) };
}

const change =
  (work: (tx: Transaction, mount: NonNullable<Awaited<ReturnType<typeof readMount>>>) => void) =>
  async (tx: Transaction) => {
    const mount = await readMount(tx, "m5/");
    if (mount) work(tx, mount);
  };

describe("the mount of a lease", () => {
  it("is found where it moved to, without looking at the others", async () => {
    const { asked, run, find } = await openStore();
    await run(
      change((tx, mount) => {
        removeMount(tx, mount);
        writeMovedMount(tx, { ...mount, path: "elsewhere/" });
      }),
    );
    expect((await find())?.path).toBe("elsewhere/");
    expect(asked.keys).toBeLessThan(6);
  });

  it("is found among all when it was moved before a word was left of it", async () => {
    const { run, find } = await openStore();
    await run(
      change((tx, mount) => {
        removeMount(tx, mount);
        writeMount(tx, { ...mount, path: "elsewhere/" });
      }),
    );
    expect((await find())?.path).toBe("elsewhere/");
  });

  it("is found when it was disabled after it moved", async () => {
    const { asked, run, find } = await openStore();
    await run(
      change((tx, mount) => {
        removeMount(tx, mount);
        writeMovedMount(tx, { ...mount, path: "elsewhere/" });
        endMount(tx, { ...mount, path: "elsewhere/" });
      }),
    );
    expect((await find())?.path).toBe("elsewhere/");
    expect(asked.keys).toBeLessThan(6);
  });
});
