import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { testSeal } from "#test/kit/core.ts";
import { Barrier } from "../barrier/barrier.ts";
import { type AutoSeal, type Seal, SealError, type WrappedKey } from "../seal/seal.ts";
import { createStaticSeal } from "../seal/static/static-seal.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage } from "../storage/storage.ts";
import { Node } from "./node.ts";
import { SealCopies } from "./seal-copies.ts";
import { SealSet } from "./seal-set.ts";
import { readSeal } from "./seal-store.ts";
import { PROBE_MILLIS_MAX, SealWatch } from "./seal-watch.ts";

const MINUTE = 60_000;
const never = new AbortController().signal;

/** A seal that can be unplugged. */
function frail(name: string, byte: number) {
  const inner = testSeal(name, byte);
  if (inner.kind !== "auto") throw new Error("the static seal opens by itself");
  const state = { down: false, hangs: false, probes: 0 };
  const plugged = async <T>(work: () => Promise<T>): Promise<T> => {
    if (state.down) throw new SealError("Unreachable", "it is unplugged", { transient: true });
    return work();
  };
  const seal: AutoSeal = {
    ...inner,
    wrap: (key, purpose) => plugged(() => inner.wrap(key, purpose)),
    unwrap: (copy, purpose) => plugged(() => inner.unwrap(copy, purpose)),
    probe: () => {
      state.probes++;
      return state.hangs ? new Promise(() => {}) : plugged(() => inner.probe());
    },
  };
  return { seal, state };
}

function watchOf(storage: Storage, active: readonly Seal[], retired: readonly Seal[] = []) {
  const clock = new FakeClock();
  const barrier = new Barrier({ storage, clock, log: silentLog });
  const seals = new SealSet(active, retired);
  const node = new Node({ storage, barrier, seals, clock, log: silentLog });
  const copies = new SealCopies({ storage, barrier, clock });
  const watch = new SealWatch({ seals, copies, node, clock, log: silentLog, random: () => 0.5 });
  return { clock, barrier, seals, node, copies, watch };
}

async function initialised(active: readonly Seal[], recoveryShares = 1) {
  const storage = openMemoryStorage();
  const made = watchOf(storage, active);
  await made.node.initialize({
    ...{ shares: 1, threshold: 1, recoveryShares, recoveryThreshold: recoveryShares },
    fill: async () => {},
  });
  return { storage, ...made };
}

const keysOf = async (storage: Storage) => (await readSeal(storage))?.keys ?? { root: [], recovery: [] };
const names = (copies: readonly WrappedKey[]) => copies.map(({ seal }) => seal).sort();

describe("a seal that was added", () => {
  it("gets copies of both keys, and then opens the store alone", async () => {
    const { storage } = await initialised([testSeal("one", 1)]);
    const two = testSeal("two", 2);
    const both = watchOf(storage, [testSeal("one", 1), two]);
    await both.node.tryAutoUnseal();
    expect(await both.watch.look(never)).toBe(true);
    const { root, recovery } = await keysOf(storage);
    expect([names(root), names(recovery)]).toEqual([
      ["one", "two"],
      ["one", "two"],
    ]);
    const alone = watchOf(storage, [two]);
    expect(await alone.node.tryAutoUnseal()).toBe(true);
  });

  it("that is down gets them when it returns, and the server goes on meanwhile", async () => {
    const { storage } = await initialised([testSeal("one", 1)]);
    const two = frail("two", 2);
    two.state.down = true;
    const { watch, node, clock } = watchOf(storage, [testSeal("one", 1), two.seal]);
    await node.tryAutoUnseal();
    expect(await watch.look(never)).toBe(false);
    expect(await watch.health()).toMatchObject([
      { name: "one", isHealthy: true },
      { name: "two", isHealthy: false, fault: "Unreachable", message: "it is unplugged", sinceMillis: clock.now() },
    ]);
    expect([node.state, names((await keysOf(storage)).root)]).toEqual(["unsealed", ["one"]]);
    two.state.down = false;
    expect(await watch.look(never)).toBe(true);
    expect(names((await keysOf(storage)).recovery)).toEqual(["one", "two"]);
  });
});

describe("a seal whose key changes", () => {
  const withKeys = (...ids: readonly [string, number][]) => {
    const keys = ids.map(([id, byte]) => ({ id, key: new SecretBytes(Buffer.alloc(32, byte)) }));
    const [first, ...others] = keys;
    if (!first) throw new Error("a seal has a key");
    return createStaticSeal("one", [first, ...others], { clock: new FakeClock() });
  };

  it("wraps both keys anew, which counts as its next generation", async () => {
    const { storage } = await initialised([withKeys(["a", 1])]);
    const { node, watch, clock } = watchOf(storage, [withKeys(["b", 2], ["a", 1])]);
    await node.tryAutoUnseal();
    await clock.advance(MINUTE);
    expect(await watch.look(never)).toBe(true);
    const wrappedAt = new Date(clock.now()).toISOString();
    const { root, recovery } = await keysOf(storage);
    expect(root).toMatchObject([{ keyId: "b", generation: 2, wrappedAt }]);
    expect(recovery).toMatchObject([{ keyId: "b", generation: 2, wrappedAt }]);
    expect(await watchOf(storage, [withKeys(["b", 2])]).node.tryAutoUnseal()).toBe(true);
  });

  it("is left alone while all is as it should be", async () => {
    const { storage, watch } = await initialised([withKeys(["a", 1])]);
    const before = (await readSeal(storage))?.keysVersion;
    expect([await watch.look(never), await watch.look(never)]).toEqual([true, true]);
    expect((await readSeal(storage))?.keysVersion).toBe(before);
  });
});

describe("a seal that was disabled", () => {
  it("opens no more once another is proved to hold the keys", async () => {
    const { storage } = await initialised([testSeal("old", 1)]);
    const { node, watch } = watchOf(storage, [testSeal("new", 2)], [testSeal("old", 1)]);
    expect(await node.tryAutoUnseal()).toBe(true);
    expect(await watch.look(never)).toBe(true);
    const { root, recovery } = await keysOf(storage);
    expect([names(root), names(recovery)]).toEqual([["new"], ["new"]]);
  });

  it("keeps its copies while the other one is down", async () => {
    const { storage } = await initialised([testSeal("old", 1)]);
    const other = frail("new", 2);
    other.state.down = true;
    const { node, watch } = watchOf(storage, [other.seal], [testSeal("old", 1)]);
    await node.tryAutoUnseal();
    expect(await watch.look(never)).toBe(false);
    expect(names((await keysOf(storage)).root)).toEqual(["old"]);
  });
});

describe("several nodes", () => {
  it("that wrap at the same time leave one copy of each seal", async () => {
    const { storage } = await initialised([testSeal("one", 1)]);
    const nodes = [1, 2, 3].map(() => watchOf(storage, [testSeal("one", 1), testSeal("two", 2)]));
    for (const { node } of nodes) await node.tryAutoUnseal();
    await Promise.all(nodes.map(({ watch }) => watch.look(never)));
    const { root, recovery } = await keysOf(storage);
    expect([names(root), names(recovery)]).toEqual([
      ["one", "two"],
      ["one", "two"],
    ]);
  });

  it("wrap the root key of today, also where another node has just replaced it", async () => {
    const { storage, barrier, seals } = await initialised([testSeal("one", 1)]);
    const late = watchOf(storage, [testSeal("one", 1), testSeal("two", 2)]);
    await late.node.tryAutoUnseal();
    const { KeyCustody } = await import("../ceremony/key-custody.ts");
    const node = new Node({ storage, barrier, seals, clock: new FakeClock(), log: silentLog });
    await node.tryAutoUnseal();
    const custody = new KeyCustody({ storage, barrier, seals, node, clock: new FakeClock() });
    using unused = custody.newKey();
    await custody.replaceRootKey(unused, { shares: 1, threshold: 1 });
    await late.watch.look(never);
    expect(await watchOf(storage, [testSeal("two", 2)]).node.tryAutoUnseal()).toBe(true);
  });
});

describe("the loop", () => {
  it("looks again after ten minutes while all is well, after half a minute when not, and at once when woken", async () => {
    const one = frail("one", 1);
    const { watch, clock } = await initialised([one.seal]);
    const stop = new AbortController();
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    const advance = async (millis: number) => {
      await clock.advance(millis);
      for (let i = 0; i < 20; i++) await settle();
    };
    watch.start(stop.signal);
    await advance(0);
    expect(one.state.probes).toBe(1);
    await advance(10 * MINUTE - 1);
    expect(one.state.probes).toBe(1);
    one.state.down = true;
    await advance(1);
    expect(one.state.probes).toBe(2);
    await advance(MINUTE / 2);
    expect(one.state.probes).toBe(3);
    one.state.down = false;
    watch.wake();
    await advance(0);
    expect([one.state.probes, (await watch.health())[0]?.isHealthy]).toEqual([4, true]);
    one.state.hangs = true;
    watch.wake();
    await advance(0);
    await advance(PROBE_MILLIS_MAX);
    expect(await watch.health()).toMatchObject([{ isHealthy: false, message: "it has not answered in time" }]);
    stop.abort();
    await watch.stopped();
  });

  it("never seals a server: an hour without any seal", async () => {
    const one = frail("one", 1);
    const { watch, clock, node, storage } = await initialised([one.seal]);
    one.state.down = true;
    const stop = new AbortController();
    watch.start(stop.signal);
    const down = clock.now();
    for (let i = 0; i < 60; i++) {
      await clock.advance(MINUTE);
      for (let j = 0; j < 10; j++) await new Promise((resolve) => setImmediate(resolve));
      expect(node.state).toBe("unsealed");
    }
    expect(await watch.health()).toMatchObject([{ isHealthy: false, sinceMillis: down }]);
    expect(one.state.probes).toBeGreaterThan(30);
    const restarted = watchOf(storage, [one.seal]);
    expect(await restarted.node.tryAutoUnseal()).toBe(false);
    one.state.down = false;
    expect(await restarted.node.tryAutoUnseal()).toBe(true);
    stop.abort();
    await watch.stopped();
  });
});
