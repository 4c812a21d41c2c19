import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage } from "../storage/storage.ts";
import { Barrier } from "./barrier.ts";
import { KEYRING_KEY, type RotationPolicy } from "./keyring.ts";
import { RESERVATION } from "./open-keyring.ts";
import { commitPlain, readPlain } from "./plain-store.ts";
import { ROTATION_ENCRYPTIONS_MIN, ROTATION_INTERVAL_MILLIS_MIN } from "./rotation-policy.ts";

const CONFIG = "core/seal-config";

/** Drops what `watch` would say, as a store does whose news has not arrived yet. */
function withoutNews(storage: Storage): Storage {
  return {
    get: (keys) => storage.get(keys),
    list: (prefix, page) => storage.list(prefix, page),
    scan: (range) => storage.scan(range),
    commit: (batch) => storage.commit(batch),
    watch: () => ({ [Symbol.dispose]: () => {} }),
    snapshot: () => storage.snapshot(),
    close: () => storage.close(),
  };
}

async function fixture() {
  const storage = withoutNews(openMemoryStorage());
  const clock = new FakeClock();
  const rootKey = SecretBytes.random(32);
  const open = () => new Barrier({ storage, clock, log: silentLog });
  const barrier = open();
  const plain = [{ key: CONFIG, value: Buffer.from("{}"), expected: undefined }];
  expect(await barrier.initialize({ rootKey, plain })).toBe("committed");
  const another = async () => {
    const other = open();
    expect(await other.unseal(rootKey)).toBe("unsealed");
    return other;
  };
  return { storage, clock, rootKey, barrier: await another(), another, open };
}

async function put(barrier: Barrier, key: string, value: string): Promise<void> {
  const tx = barrier.begin();
  tx.put(key, Buffer.from(value));
  expect(await tx.commit()).toBe("committed");
}

async function get(barrier: Barrier, key: string): Promise<string | undefined> {
  const value = await barrier.begin().get(key);
  return value && Buffer.from(value).toString();
}

async function rotate(barrier: Barrier): Promise<void> {
  for (;;) {
    const tx = barrier.begin();
    barrier.rotate(tx);
    if ((await tx.commit()) === "committed") return;
  }
}

async function setPolicy(barrier: Barrier, policy: RotationPolicy): Promise<void> {
  const tx = barrier.begin();
  barrier.setRotationPolicy(tx, policy);
  expect(await tx.commit()).toBe("committed");
}

describe("initialising", () => {
  it("writes keyring, plain blobs and first records in one commit", async () => {
    const storage = openMemoryStorage();
    let commits = 0;
    const commit: Storage["commit"] = (batch) => {
      commits++;
      return storage.commit(batch);
    };
    const counted: Storage = { ...withoutNews(storage), commit };
    const barrier = new Barrier({ storage: counted, clock: new FakeClock(), log: silentLog });
    const rootKey = SecretBytes.random(32);
    expect(await barrier.isInitialized()).toBe(false);
    const result = await barrier.initialize({
      rootKey,
      plain: [{ key: CONFIG, value: Buffer.from("seals"), expected: undefined }],
      fill: async (tx) => {
        expect(await tx.get("core/mounts")).toBeUndefined();
        tx.put("core/mounts", Buffer.from("mounts"));
        expect(await tx.list("core/", { limit: 5 })).toEqual(["mounts"]);
      },
    });
    expect(result).toBe("committed");
    expect(commits).toBe(1);
    expect(barrier.isSealed).toBe(true);
    expect(await barrier.isInitialized()).toBe(true);
    expect(Buffer.from((await readPlain(storage, CONFIG))?.value ?? []).toString()).toBe("seals");
    await barrier.unseal(rootKey);
    expect(await get(barrier, "core/mounts")).toBe("mounts");
  });

  it("happens once: the second is a conflict and changes nothing", async () => {
    const { barrier, open } = await fixture();
    await put(barrier, "a", "1");
    expect(await open().initialize({ rootKey: SecretBytes.random(32), plain: [] })).toBe("conflict");
    expect(await get(barrier, "a")).toBe("1");
  });
});

describe("sealing", () => {
  it("answers a wrong root key and a store without keyring", async () => {
    const { open } = await fixture();
    expect(await open().unseal(SecretBytes.random(32))).toBe("wrong_key");
    expect(await open().unseal(SecretBytes.random(16))).toBe("wrong_key");
    const empty = new Barrier({ storage: openMemoryStorage(), clock: new FakeClock(), log: silentLog });
    await expect(empty.unseal(SecretBytes.random(32))).rejects.toMatchObject({
      code: "internal",
      message: expect.stringContaining("core/keyring"),
    });
  });

  it("stops new and running transactions, and opens again", async () => {
    const { barrier, rootKey } = await fixture();
    await put(barrier, "a", "1");
    const running = barrier.begin();
    running.put("b", Buffer.from("2"));
    barrier.seal();
    expect(barrier.isSealed).toBe(true);
    expect(() => barrier.begin()).toThrow(expect.objectContaining({ code: "sealed" }));
    await expect(running.get("a")).rejects.toMatchObject({ code: "sealed" });
    await expect(running.commit()).rejects.toMatchObject({ code: "sealed" });
    await barrier.unseal(rootKey);
    expect(await get(barrier, "a")).toBe("1");
    expect(await get(barrier, "b")).toBeUndefined();
  });

  it("leaves the root key of the caller alone", async () => {
    const { barrier, rootKey } = await fixture();
    barrier.seal();
    expect(rootKey.equals(new SecretBytes(Buffer.alloc(32)))).toBe(false);
  });

  it("stores ciphertext only", async () => {
    const { barrier, storage } = await fixture();
    await put(barrier, "a", "a very secret value");
    const [entry] = await storage.get(["a"]);
    expect(Buffer.from(entry?.value ?? []).includes("secret")).toBe(false);
  });
});

describe("rotation", () => {
  it("begins a term that another process learns of by meeting it", async () => {
    const { barrier, another, clock } = await fixture();
    const other = await another();
    await put(barrier, "old", "1");
    await clock.advance(5);
    await rotate(barrier);
    expect(barrier.keyStatus()).toEqual({ term: 2, installedAt: clock.now(), encryptions: 0 });
    await put(barrier, "new", "2");
    expect(await get(other, "old")).toBe("1");
    expect(other.keyStatus().term).toBe(1);
    expect(await get(other, "new")).toBe("2");
    expect(other.keyStatus().term).toBe(2);
  });

  it("is learned from watch where storage tells at once", async () => {
    const storage = openMemoryStorage();
    const rootKey = SecretBytes.random(32);
    const barriers = [1, 2].map(() => new Barrier({ storage, clock: new FakeClock(), log: silentLog }));
    const [one, two] = barriers;
    await one?.initialize({ rootKey, plain: [] });
    for (const barrier of barriers) await barrier.unseal(rootKey);
    if (one) await rotate(one);
    await expect.poll(() => two?.keyStatus().term).toBe(2);
  });

  it("loses no term when processes rotate and write at the same time", async () => {
    const { barrier, another } = await fixture();
    const others = [barrier, await another(), await another()];
    const work = others.flatMap((b, i) => [rotate(b), put(b, `k${i}`, `v${i}`), rotate(b)]);
    await Promise.all(work);
    const fresh = await another();
    expect(fresh.keyStatus().term).toBe(7);
    for (const i of [0, 1, 2]) expect(await get(fresh, `k${i}`)).toBe(`v${i}`);
  });

  it("counts encryptions and books them ahead, so that a crash never undercounts", async () => {
    const { barrier, another } = await fixture();
    const before = barrier.keyStatus().encryptions;
    await put(barrier, "a", "1");
    await put(barrier, "b", "1");
    expect(barrier.keyStatus().encryptions).toBe(before + 2);
    expect((await another()).keyStatus().encryptions).toBe(before + RESERVATION);
  });

  it("comes by itself when a term has made enough encryptions", async () => {
    const { barrier, another } = await fixture();
    await setPolicy(barrier, { enabled: true, max_encryptions: ROTATION_ENCRYPTIONS_MIN, interval_millis: 0 });
    // Each process that writes books one step, so this many use the term up.
    for (let i = 0; i < Math.floor(ROTATION_ENCRYPTIONS_MIN / RESERVATION); i++)
      await put(await another(), "a", `${i}`);
    expect(barrier.isSealed).toBe(false);
    const last = await another();
    expect(last.keyStatus().term).toBe(2);
    expect(await get(last, "a")).toBe("14");
  });

  it("comes by age when asked for, once", async () => {
    const { barrier, clock } = await fixture();
    const day = ROTATION_INTERVAL_MILLIS_MIN;
    await setPolicy(barrier, { enabled: true, max_encryptions: ROTATION_ENCRYPTIONS_MIN, interval_millis: day });
    await clock.advance(day - 1);
    expect(await barrier.rotateIfDue()).toBe(false);
    await clock.advance(1);
    expect(await barrier.rotateIfDue()).toBe(true);
    expect(await barrier.rotateIfDue()).toBe(false);
  });

  it.each([
    [ROTATION_ENCRYPTIONS_MIN - 1, 0],
    [3_865_470_567, 0],
    [ROTATION_ENCRYPTIONS_MIN, ROTATION_INTERVAL_MILLIS_MIN - 1],
  ])("refuses a policy of %i encryptions and %i ms", async (max_encryptions, interval_millis) => {
    const { barrier } = await fixture();
    const policy = { enabled: true, max_encryptions, interval_millis };
    expect(() => barrier.setRotationPolicy(barrier.begin(), policy)).toThrow(
      expect.objectContaining({ code: "invalid_request" }),
    );
  });
});

describe("a new root key", () => {
  it("is written with the seals' blobs, opens the store, and the old one does not", async () => {
    const { barrier, another, open, storage, rootKey } = await fixture();
    const other = await another();
    const newKey = SecretBytes.random(32);
    const version = (await readPlain(storage, CONFIG))?.version;
    const plain = [{ key: CONFIG, value: Buffer.from("new"), expected: version }];
    expect(await barrier.rekey(newKey, plain)).toBe("committed");
    expect(await open().unseal(rootKey)).toBe("wrong_key");
    expect(await open().unseal(newKey)).toBe("unsealed");
    await rotate(barrier);
    await put(barrier, "a", "1");
    expect(await get(other, "a")).toBe("1");
    expect(other.cloneRootKey().equals(newKey)).toBe(true);
  });

  it("is not taken when the seals' blobs have changed meanwhile", async () => {
    const { barrier, open, storage, rootKey } = await fixture();
    const version = (await readPlain(storage, CONFIG))?.version;
    await commitPlain(storage, [{ key: CONFIG, value: Buffer.from("other"), expected: version }]);
    const plain = [{ key: CONFIG, value: Buffer.from("mine"), expected: version }];
    expect(await barrier.rekey(SecretBytes.random(32), plain)).toBe("conflict");
    expect(await open().unseal(rootKey)).toBe("unsealed");
  });
});

describe("what was changed in storage", () => {
  it.each([
    ["moved from another key", (stored: Uint8Array, _other: Uint8Array) => stored],
    ["flipped", (_stored: Uint8Array, other: Uint8Array) => other.with(20, (other[20] ?? 0) ^ 1)],
    ["cut short", (_stored: Uint8Array, other: Uint8Array) => other.subarray(0, 10)],
    ["of a term that never was", (_stored: Uint8Array, other: Uint8Array) => other.with(1, 9)],
    ["of another format", (_stored: Uint8Array, other: Uint8Array) => other.with(0, 200)],
  ])("is never served: %s", async (_name, change) => {
    const { barrier, storage } = await fixture();
    await put(barrier, "a", "1");
    await put(barrier, "b", "2");
    const [a, b] = await storage.get(["a", "b"]);
    const changed = change(a?.value ?? new Uint8Array(), b?.value ?? new Uint8Array());
    await storage.commit({ expected: new Map(), writes: new Map([["b", changed]]) });
    const failure = { code: "internal", message: expect.stringContaining("at path b") };
    await expect(barrier.begin().get("b")).rejects.toMatchObject(failure);
  });

  it("is noticed in the keyring", async () => {
    const { open, storage, rootKey } = await fixture();
    const [entry] = await storage.get([KEYRING_KEY]);
    const changed = (entry?.value ?? new Uint8Array()).with(30, 1 ^ (entry?.value[30] ?? 0));
    await storage.commit({ expected: new Map(), writes: new Map([[KEYRING_KEY, changed]]) });
    expect(await open().unseal(rootKey)).toBe("wrong_key");
  });
});
