// Two servers on three members of etcd, of which two die: reads and writes are answered 503 within a deadline, and are
// served again when there is a majority, with all that was acknowledged.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { type EtcdServer, startEtcd } from "#server/storage/etcd/fixture.ts";
import { call, must, startTwoServers, startWriting, type TwoServers } from "#test/kit/two-servers.ts";

const TIMEOUT_SECONDS = 2;
/** A request reads several times, and each reading may take the timeout; the first one that fails ends it. */
const DEADLINE_MILLIS = 4 * TIMEOUT_SECONDS * 1000;

const started = await startEtcd([], 3);

describe.skipIf(started === undefined)("two servers whose etcd loses its majority", () => {
  let etcd: EtcdServer;
  let both: TwoServers;

  beforeAll(async () => {
    if (started === undefined) throw new Error("etcd is not installed");
    etcd = started;
    const address = etcd.addresses.join(",");
    both = await startTwoServers({ etcd: { address, path: "coffer", request_timeout: `${TIMEOUT_SECONDS}s` } });
  });
  afterAll(async () => {
    await both?.stop();
    await etcd?.remove();
  });

  it("answer 503 within a deadline, and go on when there is one", async () => {
    const { one, two, root } = both;
    await must(one, "PUT", "secret/before", root, { a: "1" });
    const writing = startWriting(both);
    await systemClock.sleep(500);
    await etcd.kill9(0);
    await etcd.kill9(2);
    for (const server of [one, two])
      for (const method of ["GET", "PUT"]) {
        const began = systemClock.now();
        const { status } = await call(server, method, "secret/before", root, method === "PUT" ? { a: "2" } : undefined);
        expect(status).toBe(503);
        expect(systemClock.now() - began).toBeLessThan(DEADLINE_MILLIS);
      }
    const before = writing.acknowledged.size;
    await etcd.start(2);
    await expect.poll(() => writing.acknowledged.size, { timeout: 30_000 }).toBeGreaterThan(before + 10);
    await writing.stop();
    expect([...writing.statuses].sort()).toEqual([204, 503]);
    for (const path of writing.acknowledged) expect((await must(two, "GET", path, root))["data"]).toEqual({ path });
  });
});
