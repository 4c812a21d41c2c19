import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { testSeal } from "#test/kit/core.ts";
import { Barrier } from "../barrier/barrier.ts";
import { type AutoSeal, type Seal, SealError } from "../seal/seal.ts";
import { createShamirSeal } from "../seal/shamir/shamir-seal.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage } from "../storage/storage.ts";
import { Node } from "./node.ts";
import { changeSeals } from "./seal-change.ts";
import { SealCopies } from "./seal-copies.ts";
import { SealSet } from "./seal-set.ts";
import { readSeal } from "./seal-store.ts";

function nodeOf(storage: Storage, active: readonly Seal[], retired: readonly Seal[] = []) {
  const clock = new FakeClock();
  const barrier = new Barrier({ storage, clock, log: silentLog });
  const seals = new SealSet(active, retired);
  const node = new Node({ storage, barrier, seals, clock, log: silentLog });
  const copies = new SealCopies({ storage, barrier, clock });
  const change = (next: readonly Seal[], disabled: readonly Seal[] = []) =>
    changeSeals({ seals, copies, node, log: silentLog }, new SealSet(next, disabled));
  return { node, seals, change };
}

async function started(...active: readonly Seal[]) {
  const storage = openMemoryStorage();
  const made = nodeOf(storage, active);
  const options = { shares: 1, threshold: 1, recoveryShares: 1, recoveryThreshold: 1, fill: async () => {} };
  const { keys } = await made.node.initialize(options);
  const names = async (of: "root" | "recovery" = "root") =>
    (await readSeal(storage))?.keys[of].map(({ seal }) => seal).sort();
  return { storage, names, keys, ...made };
}

function broken(seal: Seal): AutoSeal {
  if (seal.kind !== "auto") throw new Error("the static seal opens by itself");
  const fail = () => Promise.reject(new SealError("Unreachable", "it is unplugged", { transient: true }));
  return { ...seal, wrap: fail, unwrap: fail, probe: fail };
}

const opens = async (storage: Storage, seal: Seal) => nodeOf(storage, [seal]).node.tryAutoUnseal();

describe("changing the seals of a running server", () => {
  it("adds one, which opens the store alone from then on", async () => {
    const { storage, change, names, seals } = await started(testSeal("one", 1));
    const [one] = seals.active;
    await change([one ?? testSeal(), testSeal("two", 2)]);
    expect([await names(), await names("recovery")]).toEqual([
      ["one", "two"],
      ["one", "two"],
    ]);
    expect(await opens(storage, testSeal("two", 2))).toBe(true);
  });

  it("moves from one to another in one step, absent or disabled", async () => {
    for (const disabled of [false, true]) {
      const { storage, change, names, seals } = await started(testSeal("one", 1));
      await change([testSeal("two", 2)], disabled ? seals.active : []);
      expect([await names(), await names("recovery")]).toEqual([["two"], ["two"]]);
      expect(await opens(storage, testSeal("one", 1))).toBe(false);
      expect(await opens(storage, testSeal("two", 2))).toBe(true);
    }
  });

  it("gives a seal of the same name another key, also where the old one is gone for ever", async () => {
    const { storage, change } = await started(testSeal("one", 1));
    await change([testSeal("one", 9)]);
    expect(await opens(storage, testSeal("one", 9))).toBe(true);
    expect(await opens(storage, testSeal("one", 1))).toBe(false);
  });

  it("refuses a seal that does not work, and changes nothing", async () => {
    const { change, names, seals } = await started(testSeal("one", 1));
    const before = seals.active;
    const refused = change([...before, broken(testSeal("two", 2))]);
    await expect(refused).rejects.toMatchObject({
      code: "invalid_request",
      message: "the seals were not changed: seal two cannot be used: it is unplugged",
    });
    expect([seals.active, await names()]).toEqual([before, ["one"]]);
  });

  it("refuses to remove the last one that opens the store", async () => {
    const { change, names, seals } = await started(testSeal("one", 1));
    for (const next of [[], [createShamirSeal("shamir")]])
      await expect(change(next)).rejects.toMatchObject({
        code: "invalid_request",
        message: expect.stringContaining("would leave no seal that opens the store"),
      });
    expect([seals.active.length, await names()]).toEqual([1, ["one"]]);
  });

  it("refuses to remove one while the other is down", async () => {
    const two = testSeal("two", 2);
    const { storage } = await started(testSeal("one", 1), two);
    const [one, down] = [testSeal("one", 1), broken(two)];
    const { node, change, seals } = nodeOf(storage, [one, down]);
    await node.tryAutoUnseal();
    await expect(change([down])).rejects.toMatchObject({
      code: "invalid_request",
      message: expect.stringContaining("no other seal is proved to hold the keys"),
    });
    expect(seals.active).toEqual([one, down]);
  });

  it("keeps what opens a sealed server", async () => {
    const { storage } = await started(testSeal("one", 1));
    const { node, change } = nodeOf(storage, [testSeal("one", 2)]);
    expect(await node.tryAutoUnseal()).toBe(false);
    await expect(change([testSeal("three", 3)])).rejects.toMatchObject({
      message: expect.stringContaining("the server is sealed"),
    });
    await change([testSeal("one", 1), testSeal("three", 3)]);
    expect(await node.tryAutoUnseal()).toBe(true);
  });

  it("leaves the copies of seals alone that only other servers of the store have", async () => {
    const { storage, names } = await started(testSeal("one", 1), testSeal("two", 2));
    const { node, change, seals } = nodeOf(storage, [testSeal("one", 1)]);
    await node.tryAutoUnseal();
    await change([...seals.active, testSeal("three", 3)]);
    expect(await names()).toEqual(["one", "three", "two"]);
  });

  it("wants the shares' seal kept until it is migrated", async () => {
    const { node, keys, change, names, seals } = await started(createShamirSeal("shamir"));
    const { SecretBytes } = await import("#common/secret-bytes.ts");
    await node.submitShare(new SecretBytes(Buffer.from(keys[0] ?? [])));
    const refused = change([testSeal("kms", 1)]);
    await expect(refused).rejects.toMatchObject({ message: expect.stringContaining("disabled = true") });
    await change([testSeal("kms", 1)], seals.active);
    expect([node.migration, await names()]).toEqual(["to-auto", ["kms", "shamir"]]);
  });
});
