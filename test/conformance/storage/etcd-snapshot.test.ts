// A snapshot of etcd that is read more slowly than history is compacted: its revision is pinned, and released after.
import { expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { EtcdCluster, METHOD } from "#server/storage/etcd/cluster.ts";
import { etcdKind } from "#server/storage/etcd/kind.ts";
import { compactRequest, parseRange, rangeRequest } from "#server/storage/etcd/messages.ts";
import { parseEtcdOptions } from "#server/storage/etcd/options.ts";
import { oldestPin } from "#server/storage/etcd/snapshot.ts";

/** Two marks of the housekeeper and a compaction to the first of them. */
const COMPACTIONS_MILLIS = 3_500;

it("is not compacted away while it is read, and is not held after", async (context) => {
  const fixture = await etcdKind.startFixture();
  if (fixture === undefined) return context.skip("etcd is not installed here");
  const config = { ...fixture.config, compaction: "1s" };
  const storage = await etcdKind.open(config, { log: silentLog, clock: systemClock });
  const options = parseEtcdOptions(config, {});
  const cluster = new EtcdCluster(options, systemClock);
  const write = (key: string, value: string) =>
    storage.commit({ expected: new Map(), writes: new Map([[key, Buffer.from(value)]]) });
  try {
    for (let n = 0; n < 40; n++) await write(`k${n}`, "old");
    const snapshot = storage.snapshot();
    const first = await snapshot.next();
    expect(await oldestPin({ cluster, path: options.path })).toBeLessThan(Infinity);
    const found = [...(first.value ?? [])];
    await write("k39", "new");
    for (let i = 0; i < 4; i++) {
      await systemClock.sleep(COMPACTIONS_MILLIS / 4);
      await write("k0", `new ${i}`);
    }
    for await (const batch of snapshot) found.push(...batch);
    expect(found.map(({ value }) => Buffer.from(value).toString())).toEqual(Array(40).fill("old"));
    expect(await oldestPin({ cluster, path: options.path })).toBe(Infinity);

    // Somebody else's compaction cannot be held off; it is told as what it is.
    const lost = storage.snapshot();
    await lost.next();
    await write("k0", "newest");
    const { revision } = parseRange(await cluster.call(METHOD.range, rangeRequest(Buffer.from("x")), "read"));
    await cluster.call(METHOD.compact, compactRequest(revision), "write");
    const failure = { code: "unavailable", message: expect.stringContaining("compacted under a snapshot") };
    await expect(Array.fromAsync(lost)).rejects.toMatchObject(failure);
  } finally {
    cluster.close();
    await storage.close();
    await fixture.stop();
  }
});
