// Replacing all that a store holds: the outcome, what is kept, and an end at every commit on the way.
import { describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { isBeingRestored, RESTORE_KEY } from "../storage/restore-record.ts";
import type { Storage, StoredEntry } from "../storage/storage.ts";
import { type Replacement, replaceEntries } from "./replace-entries.ts";

const name = (prefix: string, n: number) => `${prefix}/${String(n).padStart(4, "0")}`;
const NEW = Array.from({ length: 450 }, (_, n) => ({ key: name("k", n * 2), value: Buffer.from(`new ${n}`) }));

async function oldStore(): Promise<Storage> {
  const storage = openMemoryStorage();
  const writes = new Map<string, Uint8Array>();
  for (let n = 0; n < 600; n++) writes.set(name("k", n * 3), Buffer.from(`old ${n}`));
  for (const key of ["a", "core/keyring", "z/last"]) writes.set(key, Buffer.from("old"));
  await storage.commit({ expected: new Map(), writes });
  return storage;
}

async function contentOf(storage: Storage): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for await (const batch of storage.snapshot())
    for (const { key, value } of batch) found.set(key, Buffer.from(value).toString());
  return found;
}

async function* chunks(entries: readonly StoredEntry[]) {
  for (let at = 0; at < entries.length; at += 130) yield entries.slice(at, at + 130);
}

type More = Partial<Pick<Replacement, "isKept" | "mayTakeOver" | "keys">>;

function replace(storage: Storage, more: More = {}) {
  const rest = { isKept: () => false, mayTakeOver: false, ...more };
  return replaceEntries({ storage, clock: systemClock, snapshot: "s", chunks: chunks(NEW), graceMillis: 0, ...rest });
}

const wanted = new Map(NEW.map(({ key, value }) => [key, value.toString()]));

/** Fails at its n-th commit, as a store does under a process that is killed. */
function failingAt(storage: Storage, n: number): Storage {
  let commits = 0;
  return {
    get: (keys) => storage.get(keys),
    list: (prefix, page) => storage.list(prefix, page),
    scan: (range) => storage.scan(range),
    commit: async (batch) => {
      if (++commits >= n) throw new Error("killed");
      return storage.commit(batch);
    },
    watch: (onChange) => storage.watch(onChange),
    snapshot: () => storage.snapshot(),
    close: () => storage.close(),
  };
}

describe("replacing the entries of a store", () => {
  it("leaves exactly the snapshot", async () => {
    const storage = await oldStore();
    await replace(storage);
    expect(await contentOf(storage)).toEqual(wanted);
  });

  it("leaves what is kept as it is, and takes nothing of it from the snapshot", async () => {
    const storage = await oldStore();
    await replace(storage, { isKept: (key) => key === "core/keyring" || key === name("k", 0) });
    const found = await contentOf(storage);
    expect(found).toEqual(new Map([...wanted, ["core/keyring", "old"], [name("k", 0), "old 0"]]));
  });

  it("changes the keyring in the commit that makes the mark", async () => {
    const storage = await oldStore();
    const [before] = await storage.get(["core/keyring"]);
    const keys = {
      expected: new Map([["core/keyring", before?.version]]),
      writes: new Map([["core/keyring", Buffer.from("more")]]),
    };
    const ended = failingAt(storage, 2);
    await expect(replace(ended, { keys, isKept: (key) => key === "core/keyring" })).rejects.toThrow("killed");
    const found = await contentOf(storage);
    expect([found.get("core/keyring"), found.has(RESTORE_KEY)]).toEqual(["more", true]);
  });

  it("is not begun when the keyring has changed meanwhile", async () => {
    const storage = await oldStore();
    const before = await contentOf(storage);
    const keys = { expected: new Map([["core/keyring", 999n]]), writes: new Map() };
    const outcome = { code: "conflict", message: expect.stringContaining("nothing was restored") };
    await expect(replace(storage, { keys })).rejects.toMatchObject(outcome);
    expect(await contentOf(storage)).toEqual(before);
  });

  it("is either not begun, marked as unfinished, or done, wherever it ends; run again it is done", async () => {
    const before = await contentOf(await oldStore());
    const seen = new Set<string>();
    for (let n = 1; !seen.has("done"); n++) {
      const storage = await oldStore();
      const failed = await replace(failingAt(storage, n)).then(
        () => false,
        () => true,
      );
      const isMarked = await isBeingRestored(storage);
      const content = await contentOf(storage);
      if (!failed) expect([isMarked, content]).toEqual([false, wanted]);
      else if (!isMarked) expect(content).toEqual(before);
      seen.add(failed ? (isMarked ? "marked" : "not begun") : "done");
      if (isMarked) {
        await expect(replace(storage)).rejects.toMatchObject({ code: "conflict" });
        await replace(storage, { mayTakeOver: true });
        expect(await contentOf(storage)).toEqual(wanted);
      }
    }
    expect([...seen]).toEqual(["not begun", "marked", "done"]);
  });

  it("writes nothing more once another run has taken over", async () => {
    const storage = await oldStore();
    let taken = false;
    const slow: Storage = {
      ...failingAt(storage, Infinity),
      scan: async (range) => {
        if (!taken) {
          taken = true;
          await replace(storage, { mayTakeOver: true });
          await storage.commit({ expected: new Map(), writes: new Map([["later", Buffer.from("1")]]) });
        }
        return storage.scan(range);
      },
    };
    await expect(replace(slow)).rejects.toMatchObject({ code: "conflict" });
    expect(await contentOf(storage)).toEqual(new Map([...wanted, ["later", "1"]]));
    expect((await storage.get([RESTORE_KEY]))[0]).toBeUndefined();
  });
});
