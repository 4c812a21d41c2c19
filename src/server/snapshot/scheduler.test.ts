// Scheduled snapshots to a directory, by two nodes of one store with a clock that the test moves.
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import type { SnapshotsStanza } from "../config/server-config.ts";
import type { Destination } from "./destination.ts";
import { Scheduler } from "./scheduler.ts";

const HOUR = 3_600_000;
let directory: string;
let one: InProcessServer;
let two: InProcessServer;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "coffer-schedule-"));
  const snapshots: SnapshotsStanza = {
    ...{ intervalMillis: HOUR, retain: 3, verifyMillis: 0, directory, prefix: "" },
    ...{ bucket: undefined, region: undefined, endpoint: undefined },
  };
  one = await startInProcessServer({ parts: { snapshots } });
  two = await startInProcessServer({ parts: { snapshots }, beside: one });
});
afterEach(() => rm(directory, { recursive: true, force: true }));

function schedulerOf({ server }: InProcessServer): Scheduler {
  if (!server.snapshots.scheduler) throw new Error("the test's servers have a schedule");
  return server.snapshots.scheduler;
}

const lookAll = () => Promise.all([one, two, one, two].map((node) => schedulerOf(node).look()));
const status = async () => (await one.call("read", "sys/storage/snapshot-status")).data;

describe("the schedule of snapshots", () => {
  it("takes one each interval, however many nodes look, and keeps the newest", async () => {
    await writeFile(join(directory, "of-somebody-else.snap"), "");
    for (let hour = 0; hour < 5; hour++) {
      expect((await lookAll()).filter((taken) => taken)).toHaveLength(1);
      expect((await lookAll()).filter((taken) => taken)).toHaveLength(0);
      await one.clock.advance(HOUR);
    }
    const found = await status();
    expect(found).toMatchObject({ scheduled: true, failing: false, destination: directory, last_failure: null });
    expect(found["stored"]).toHaveLength(3);
    expect((await readdir(directory)).sort()).toEqual([...(found["stored"] as string[]), "of-somebody-else.snap"]);
  });

  it("removes what a node that was killed left half written, and nothing that is being written", async () => {
    const partOf = (hour: number) => join(directory, `coffer-20260101T0${hour}0000Z-00000000.snap.part`);
    for (const hour of [1, 2]) await writeFile(partOf(hour), "half");
    const now = one.clock.now() / 1000;
    await utimes(partOf(1), now, now - 25 * 3600);
    await utimes(partOf(2), now, now - 23 * 3600);
    await lookAll();
    expect((await readdir(directory)).filter((name) => name.endsWith(".part"))).toEqual([basename(partOf(2))]);
  });

  it("shows a failure, tries again soon, and shows that it is over", async () => {
    await rm(directory, { recursive: true });
    await writeFile(directory, "in the way");
    await lookAll();
    expect(await status()).toMatchObject({ failing: true, last_success: null });
    expect((await lookAll()).filter((taken) => taken)).toHaveLength(0);
    await rm(directory);
    await one.clock.advance(2 * 60_000);
    expect((await lookAll()).filter((taken) => taken)).toHaveLength(1);
    expect(await status()).toMatchObject({ failing: false, last_failure: null });
  });

  it("tries a stored one on demand, and says which one is damaged", async () => {
    await lookAll();
    const [name] = (await status())["stored"] as string[];
    const path = `sys/storage/snapshot-stored/${name}/verify`;
    expect((await one.call("update", path)).data).toMatchObject({ name, decrypted: expect.anything() });
    expect((await status())["last_verified"]).toMatchObject({ name });
    await writeFile(join(directory, name ?? ""), "damaged");
    expect((await one.call("update", path)).status).toBe(400);
    expect(await status()).toMatchObject({ failing: true, last_verify_failure: { name } });
    expect((await one.call("update", "sys/storage/snapshot-stored/..%2Fx/verify")).status).toBe(400);
    expect(
      (await one.call("update", "sys/storage/snapshot-stored/coffer-20200101T000000Z-00000000.snap/verify")).status,
    ).toBe(404);
  });
});

/** A node whose destination takes a snapshot's bytes only when it is told to, with a clock that is perhaps its own. */
function slowNode({ server, clock: common }: InProcessServer, clock = common) {
  const gate = Promise.withResolvers<void>();
  const names: string[] = [];
  const destination: Destination = {
    place: "slow",
    put: async (name, bytes) => {
      names.push(name);
      await gate.promise;
      for await (const _chunk of bytes);
    },
    list: async () => [],
    get: () => Promise.reject(new Error("nothing is tried here")),
    remove: async () => {},
  };
  const stanza: SnapshotsStanza = {
    ...{ intervalMillis: HOUR, retain: 3, verifyMillis: 0, directory: "slow", prefix: "" },
    ...{ bucket: undefined, region: undefined, endpoint: undefined },
  };
  const scheduler = new Scheduler({
    ...{ stanza, clock, log: silentLog, barrier: server.services.barrier },
    open: async () => destination,
    take: () => server.snapshots.take(),
    verify: () => Promise.reject(new Error("nothing is tried here")),
  });
  return { scheduler, names, finish: () => gate.resolve() };
}

describe("a snapshot that takes long", () => {
  it("keeps its turn however long that is", async () => {
    const [slow, other] = [slowNode(one), slowNode(two)];
    const taking = slow.scheduler.look();
    await expect.poll(() => slow.names).toHaveLength(1);
    for (let minutes = 0; minutes < 20; minutes++) {
      await one.clock.advance(60_000);
      expect(await other.scheduler.look()).toBe(false);
    }
    slow.finish();
    expect(await taking).toBe(true);
    expect((await status())["last_success"]).toMatchObject({ name: slow.names[0] });
  });

  it("loses its turn when its node stands still, and the node says nothing of it afterwards", async () => {
    const [stopped, other] = [slowNode(one, new FakeClock(one.clock.now())), slowNode(two)];
    const taking = stopped.scheduler.look();
    await expect.poll(() => stopped.names).toHaveLength(1);
    await two.clock.advance(3 * 60_000);
    other.finish();
    expect(await other.scheduler.look()).toBe(true);
    stopped.finish();
    await taking;
    expect(await status()).toMatchObject({ failing: false, last_success: { name: other.names[0] } });
  });
});
