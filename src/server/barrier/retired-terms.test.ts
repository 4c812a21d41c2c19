// Terms that are over: nobody writes under one once the next has begun, and one is given up by a commit that says so.
import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { encodeRestore, RESTORE_KEY } from "../storage/restore-record.ts";
import type { Storage } from "../storage/storage.ts";
import { Barrier } from "./barrier.ts";
import { envelopeTerm } from "./envelope.ts";
import { KEYRING_KEY } from "./keyring.ts";
import { ROOT_KEY_KEY } from "./open-keyring.ts";
import { FENCE_KEY } from "./term-fence.ts";

/** Two processes on one store that tell each other nothing. */
async function fixture() {
  const memory = openMemoryStorage();
  let onCommit = async () => {};
  const open = async () => {
    const storage: Storage = {
      get: (keys) => memory.get(keys),
      list: (prefix, page) => memory.list(prefix, page),
      scan: (range) => memory.scan(range),
      commit: async (batch) => {
        const run = onCommit;
        onCommit = async () => {};
        await run();
        return memory.commit(batch);
      },
      watch: () => ({ [Symbol.dispose]: () => {} }),
      snapshot: () => memory.snapshot(),
      close: () => memory.close(),
    };
    const barrier = new Barrier({ storage, clock: new FakeClock(), log: silentLog });
    if (!(await barrier.isInitialized())) await barrier.initialize({ rootKey, plain: [] });
    expect(await barrier.unseal(rootKey)).toBe("unsealed");
    return barrier;
  };
  const rootKey = SecretBytes.random(32);
  const [one, other] = [await open(), await open()];
  const termOf = async (key: string) => envelopeTerm((await memory.get([key]))[0]?.value ?? new Uint8Array());
  return {
    ...{ memory, one, other, open, termOf },
    /** Runs right before the next commit reaches storage. */
    beforeCommit: (run: () => Promise<void>) => {
      onCommit = run;
    },
  };
}

async function commit(barrier: Barrier, fill: (tx: ReturnType<Barrier["begin"]>) => void | Promise<void>) {
  const tx = barrier.begin();
  await fill(tx);
  return tx.commit();
}
const put = (barrier: Barrier, key: string, value = "v") => commit(barrier, (tx) => tx.put(key, Buffer.from(value)));
const rotate = async (barrier: Barrier) => {
  for (;;) if ((await commit(barrier, (tx) => barrier.rotate(tx))) === "committed") return;
};
const get = async (barrier: Barrier, key: string) => {
  const value = await barrier.begin().get(key);
  return value && Buffer.from(value).toString();
};

describe("a term that is over", () => {
  it("is not written under by a process that has slept through the rotation", async () => {
    const { one, other, termOf } = await fixture();
    await put(other, "a");
    await rotate(one);
    expect(other.keyStatus().term).toBe(1);
    expect(await put(other, "a", "late")).toBe("committed");
    expect(await termOf("a")).toBe(2);
    expect(await get(one, "a")).toBe("late");
  });

  it("is not written under by a commit that was on its way, even in a store that had never rotated", async () => {
    const { one, other, termOf, beforeCommit } = await fixture();
    await put(one, "warm");
    await put(other, "warm");
    beforeCommit(() => rotate(one));
    expect(await put(other, "a")).toBe("committed");
    expect(await termOf("a")).toBe(2);
  });

  it("ends in a conflict when what was read has changed as well", async () => {
    const { one, other, beforeCommit } = await fixture();
    await put(one, "read");
    beforeCommit(async () => {
      await rotate(one);
      await put(one, "read", "newer");
    });
    const outcome = await commit(other, async (tx) => {
      await tx.get("read");
      tx.put("a", Buffer.from("v"));
    });
    expect(outcome).toBe("conflict");
    expect(await get(one, "a")).toBeUndefined();
  });

  it("is fenced off again after a rotation by a program that knew of no fence", async () => {
    const { memory, one, open, termOf } = await fixture();
    await rotate(one);
    const [before] = await memory.get([FENCE_KEY]);
    await rotate(one);
    await memory.commit({ expected: new Map(), writes: new Map([[FENCE_KEY, before?.value ?? null]]) });
    const fresh = await open();
    expect(await termOf(FENCE_KEY)).toBe(2);
    expect(await put(fresh, "a")).toBe("committed");
    expect(await termOf(FENCE_KEY)).toBe(3);
    expect(await put(one, "b")).toBe("committed");
  });
});

describe("retiring", () => {
  it("takes the terms out of the keyring, for every process", async () => {
    const { one, other, open } = await fixture();
    await rotate(one);
    await rotate(one);
    expect(await one.fenceOff()).toBe(3);
    await put(one, "a");
    expect(await commit(one, (tx) => one.retire(tx, 2))).toBe("committed");
    expect(one.terms().map(({ term }) => term)).toEqual([3]);
    expect(await get(other, "a")).toBe("v");
    expect(other.terms().map(({ term }) => term)).toEqual([3]);
    expect((await open()).terms().map(({ term }) => term)).toEqual([3]);
    await rotate(other);
    expect(other.keyStatus().term).toBe(4);
  });

  it("is refused for the term in use", async () => {
    const { one } = await fixture();
    await one.fenceOff();
    await expect(one.retire(one.begin(), 1)).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("meets a conflict when its proof has changed, and nothing is given up", async () => {
    const { one, other } = await fixture();
    await put(one, "proof");
    await rotate(one);
    await one.fenceOff();
    const tx = one.begin();
    await tx.get("proof");
    await one.retire(tx, 1);
    await put(other, "proof", "changed");
    expect(await tx.commit()).toBe("conflict");
    expect(one.terms().map(({ term }) => term)).toEqual([1, 2]);
  });

  it("waits for a restore, which may bring back what is under them", async () => {
    const { memory, one } = await fixture();
    await rotate(one);
    await one.fenceOff();
    const mark = encodeRestore({ run: "r", snapshot: "s", begun: 0 });
    await memory.commit({ expected: new Map(), writes: new Map([[RESTORE_KEY, mark]]) });
    expect(await commit(one, (tx) => one.retire(tx, 1))).toBe("conflict");
  });

  it("leaves the root key for others under a term that stays", async () => {
    const { one, other, termOf } = await fixture();
    expect(await one.rekey(SecretBytes.random(32), [])).toBe("committed");
    expect(await termOf(ROOT_KEY_KEY)).toBe(1);
    await get(other, "nothing");
    await rotate(one);
    await one.fenceOff();
    expect(await commit(one, (tx) => one.retire(tx, 1))).toBe("committed");
    expect(await termOf(ROOT_KEY_KEY)).toBe(2);
  });

  it("tells what is still under a retired term as damage, by name", async () => {
    const { one } = await fixture();
    await put(one, "forgotten");
    await rotate(one);
    await one.fenceOff();
    await commit(one, (tx) => one.retire(tx, 1));
    await expect(get(one, "forgotten")).rejects.toMatchObject({ code: "internal" });
    expect(one.damagedReads).toBe(1);
  });

  it("can be undone from a keyring of before, as long as that is of the same history and root key", async () => {
    const { memory, one } = await fixture();
    const stored = async () => (await memory.get([KEYRING_KEY]))[0]?.value ?? new Uint8Array();
    await put(one, "a");
    const before = await stored();
    await rotate(one);
    await one.fenceOff();
    await commit(one, (tx) => one.retire(tx, 1));
    expect(one.formerKeyring(before)?.terms.map(({ term }) => term)).toEqual([1]);
    const change = await one.keepTerms(new Set([1, 2]), before);
    expect(await memory.commit(change)).toBe("committed");
    expect(await get(one, "a")).toBe("v");
    expect(one.terms().map(({ term }) => term)).toEqual([1, 2]);

    await expect(one.keepTerms(new Set([7]), before)).rejects.toMatchObject({ code: "invalid_request" });
    expect(await one.rekey(SecretBytes.random(32), [])).toBe("committed");
    expect(one.formerKeyring(before)).toBeUndefined();
    await expect(one.keepTerms(new Set([1, 9]), before)).rejects.toMatchObject({ code: "invalid_request" });
  });
});
