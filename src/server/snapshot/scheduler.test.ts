// Scheduled snapshots to a directory, by two nodes of one store with a clock that the test moves.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import type { SnapshotsStanza } from "../config/server-config.ts";
import type { Scheduler } from "./scheduler.ts";

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
