import { describe, expect, it } from "vitest";
import { type Core, startCore } from "#test/kit/core.ts";
import { RESERVATION } from "../barrier/open-keyring.ts";

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;

const termOf = async ({ root }: Core) => (await root("read", "sys/key-status")).data["term"];
const config = async ({ root }: Core) => (await root("read", "sys/rotate/config")).data;

/** Lets the time pass, and the background have its turn. */
async function pass(core: Core, millis: number): Promise<void> {
  await core.clock.advance(millis);
  await core.settle();
}

describe("a rotation on demand", () => {
  it("is a part of the request: a token's last use is enough for it, and for one only", async () => {
    const core = await startCore();
    await core.policy("rotator", 'path "sys/rotate" { capabilities = ["update", "sudo"] }');
    const token = await core.token({ policies: ["rotator"], num_uses: 1 });
    expect((await core.send(token, "update", "sys/rotate")).status).toBe(204);
    expect(await termOf(core)).toBe(2);
    expect((await core.send(token, "update", "sys/rotate")).status).toBe(403);
    expect(await termOf(core)).toBe(2);
  });

  it("is one for each of many requests at once", async () => {
    const core = await startCore();
    const answers = await Promise.all(Array.from({ length: 5 }, () => core.root("update", "sys/rotate/keyring")));
    expect(answers.map(({ status }) => status)).toEqual(Array(5).fill(204));
    expect(await termOf(core)).toBe(6);
  });
});

describe("rotations by themselves", () => {
  it("are on, with half of NIST's bound, and without an age", async () => {
    const core = await startCore();
    expect(await config(core)).toEqual({ enabled: true, interval: 0, max_operations: 2 ** 31, retire_after: 0 });
    await pass(core, 1_000 * DAY);
    expect(await termOf(core)).toBe(1);
  });

  it("come at the age that is asked for, again and again, and stop when they are turned off", async () => {
    const core = await startCore();
    await core.root("update", "sys/rotate/config", { interval: "36h" });
    expect((await config(core))["interval"]).toBe("36h0m0s");
    await pass(core, 36 * HOUR - 1);
    expect(await termOf(core)).toBe(1);
    await pass(core, 1);
    expect(await termOf(core)).toBe(2);
    await pass(core, 35 * HOUR);
    expect(await termOf(core)).toBe(2);
    await pass(core, HOUR);
    expect(await termOf(core)).toBe(3);
    await core.root("update", "sys/rotate/config", { enabled: false });
    expect(await config(core)).toMatchObject({ enabled: false, interval: "36h0m0s" });
    await pass(core, 100 * DAY);
    expect(await termOf(core)).toBe(3);
  });

  it("come before a key has been used too often", async () => {
    const core = await startCore();
    await core.root("update", "sys/rotate/config", { max_operations: 1_000_000 });
    const open = core.services.barrier;
    // Each start of a process books one step, so this many use the key up.
    for (let booked = 0; booked < 1_000_000 && open.keyStatus().term === 1; booked += RESERVATION) {
      const rootKey = open.cloneRootKey();
      await open.unseal(rootKey);
      await core.root("update", "sys/policies/acl/p", { policy: `path "a" {} # ${booked}` });
    }
    expect(await termOf(core)).toBe(2);
    expect((await core.root("read", "sys/policies/acl/p")).status).toBe(200);
  });

  it.each([
    [{ max_operations: 999_999 }, "max_operations"],
    [{ max_operations: 3_865_470_567 }, "max_operations"],
    [{ interval: "23h59m" }, "interval"],
    [{ retire_after: "3599s" }, "retire_after"],
    [{ interval: "soon" }, "interval"],
  ])("refuse %j, and change nothing", async (body, field) => {
    const core = await startCore();
    const { status, error } = await core.send(core.rootToken, "update", "sys/rotate/config", body);
    expect([status, error]).toEqual([400, expect.stringContaining(field)]);
    expect(await config(core)).toEqual({ enabled: true, interval: 0, max_operations: 2 ** 31, retire_after: 0 });
  });
});
