import { describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { testSeal } from "#test/kit/core.ts";
import { Barrier } from "../barrier/barrier.ts";
import { type AutoSeal, type Seal, SealError } from "../seal/seal.ts";
import { createShamirSeal } from "../seal/shamir/shamir-seal.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage } from "../storage/storage.ts";
import { Node } from "./node.ts";
import { type NodeEvent, type NodeState, transition } from "./node-state.ts";
import { SealSet } from "./seal-set.ts";
import { aloneUnseal } from "./siblings.ts";

const fill = async () => {};

interface Made {
  readonly node: Node;
  readonly barrier: Barrier;
  readonly clock: FakeClock;
}

function makeNode(storage: Storage, seals: readonly Seal[], retiredSeals: readonly Seal[] = []): Made {
  const clock = new FakeClock();
  const barrier = new Barrier({ storage, clock, log: silentLog });
  const set = new SealSet(seals, retiredSeals);
  return { node: new Node({ storage, barrier, seals: set, clock, log: silentLog }), barrier, clock };
}

/** A seal that can be made to fail. */
function frailSeal(name: string, byte: number): { seal: AutoSeal; fail: (error: unknown) => void } {
  const inner = testSeal(name, byte);
  if (inner.kind !== "auto") throw new Error("the static seal opens by itself");
  let error: unknown;
  const unwrap: AutoSeal["unwrap"] = async (wrapped, purpose) => {
    if (error !== undefined) throw error;
    return inner.unwrap(wrapped, purpose);
  };
  return {
    seal: { ...inner, unwrap },
    fail: (thrown) => {
      error = thrown;
    },
  };
}

async function startShamir(shares: number, threshold: number) {
  const storage = openMemoryStorage();
  const made = makeNode(storage, [createShamirSeal("shamir")]);
  const { keys } = await made.node.initialize({ shares, threshold, recoveryShares: 0, recoveryThreshold: 0, fill });
  const share = (i: number) => new SecretBytes(Buffer.from(keys[i] ?? []));
  return { ...made, storage, keys, share };
}

const auto = { shares: 1, threshold: 1, recoveryShares: 0, recoveryThreshold: 0, fill };

describe("the states of a node", () => {
  const states: readonly NodeState[] = ["uninitialised", "sealed", "unsealed", "stopped"];
  const events: readonly NodeEvent[] = ["initialised", "opened", "closed", "stopped"];
  const allowed: Readonly<Record<string, NodeState>> = {
    "uninitialised initialised": "sealed",
    "uninitialised stopped": "stopped",
    "sealed opened": "unsealed",
    "sealed closed": "sealed",
    "sealed stopped": "stopped",
    "unsealed closed": "sealed",
    "unsealed stopped": "stopped",
  };
  it.each(states.flatMap((state) => events.map((event) => [state, event] as const)))("%s, %s", (state, event) => {
    expect(transition(state, event)).toBe(allowed[`${state} ${event}`]);
  });
});

describe("a node that people unseal", () => {
  it("is sealed after initialisation and opens with as many shares as it takes, in any order", async () => {
    const { node, share } = await startShamir(5, 3);
    expect([node.state, node.isAutoSeal, node.sealType]).toEqual(["sealed", false, "shamir"]);
    await node.submitShare(share(4));
    await node.submitShare(share(1));
    expect([node.state, (await node.progress()).count]).toEqual(["sealed", 2]);
    await node.submitShare(share(2));
    expect([node.state, await node.progress()]).toEqual(["unsealed", { count: 0, nonce: "" }]);
  });

  it("counts a share once, and wipes its second copy", async () => {
    const { node, share } = await startShamir(3, 2);
    await node.submitShare(share(0));
    const again = share(0);
    await node.submitShare(again);
    expect((await node.progress()).count).toBe(1);
    expect(again.expose().every((byte) => byte === 0)).toBe(true);
  });

  it("keeps one nonce for an attempt and another for the next", async () => {
    const { node, share } = await startShamir(3, 3);
    await node.submitShare(share(0));
    const { nonce } = await node.progress();
    await node.submitShare(share(1));
    expect((await node.progress()).nonce).toBe(nonce);
    await node.resetShares();
    expect(await node.progress()).toEqual({ count: 0, nonce: "" });
    await node.submitShare(share(0));
    expect((await node.progress()).nonce).not.toBe(nonce);
  });

  it.each<[string, (share: (i: number) => SecretBytes) => SecretBytes]>([
    ["of another store", () => new SecretBytes(Buffer.concat([Buffer.alloc(32, 9), Buffer.of(77)]))],
    ["of a wrong length", () => new SecretBytes(Buffer.alloc(20, 9))],
    ["with an x of zero", () => new SecretBytes(Buffer.alloc(33, 0))],
    [
      "with a flipped bit",
      (share) => {
        const bytes = Buffer.from(share(1).expose());
        bytes[3] = (bytes[3] ?? 0) ^ 1;
        return new SecretBytes(bytes);
      },
    ],
  ])("throws a set away that has a share %s, and opens with the right ones", async (_what, wrong) => {
    const { node, share } = await startShamir(3, 2);
    await node.submitShare(share(0));
    await expect(node.submitShare(wrong(share))).rejects.toMatchObject({ code: "invalid_request" });
    expect([node.state, (await node.progress()).count]).toEqual(["sealed", 0]);
    await node.submitShare(share(2));
    await node.submitShare(share(1));
    expect(node.state).toBe("unsealed");
  });

  it.each([16, 31, 33, 64])("refuses a lone key of %i bytes", async (length) => {
    const { node } = await startShamir(1, 1);
    const wrong = new SecretBytes(Buffer.alloc(length, 5));
    await expect(node.submitShare(wrong)).rejects.toMatchObject({ code: "invalid_request" });
    expect(node.state).toBe("sealed");
  });

  it("is sealed again on demand and opens again", async () => {
    const { node, barrier, share } = await startShamir(2, 2);
    for (const i of [0, 1]) await node.submitShare(share(i));
    await node.seal();
    expect([node.state, barrier.isSealed]).toEqual(["sealed", true]);
    expect(() => barrier.begin()).toThrow(expect.objectContaining({ code: "sealed" }));
    for (const i of [1, 0]) await node.submitShare(share(i));
    expect([node.state, barrier.isSealed]).toEqual(["unsealed", false]);
  });

  it("opens once when the last shares come at the same time", async () => {
    const { node, share } = await startShamir(4, 2);
    let opened = 0;
    node.onUnsealed(() => opened++);
    await node.submitShare(share(0));
    await Promise.allSettled([node.submitShare(share(1)), node.submitShare(share(2)), node.submitShare(share(3))]);
    expect(node.state).toBe("unsealed");
    expect(opened).toBe(1);
    await node.seal();
    expect((await node.progress()).count).toBe(0);
  });

  it("takes no share before it is initialised", async () => {
    const { node } = makeNode(openMemoryStorage(), [createShamirSeal("shamir")]);
    const share = new SecretBytes(Buffer.alloc(33, 1));
    await expect(node.submitShare(share)).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("stops for good", async () => {
    const { node, barrier, share } = await startShamir(1, 1);
    await node.submitShare(share(0));
    node.stop();
    expect([node.state, barrier.isSealed, await node.refresh()]).toEqual(["stopped", true, "stopped"]);
    await node.submitShare(share(0));
    expect([node.state, barrier.isSealed]).toEqual(["stopped", true]);
  });
});

describe("initialising", () => {
  it("happens once, however many try at the same time on however many nodes", async () => {
    const storage = openMemoryStorage();
    const nodes = [1, 2, 3].map(() => makeNode(storage, [testSeal()]).node);
    const outcomes = await Promise.allSettled([...nodes, ...nodes].map((node) => node.initialize(auto)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "invalid_request" });
    for (const node of nodes) expect(await node.tryAutoUnseal()).toBe(true);
  });

  it("leaves nothing when filling in the first records fails", async () => {
    const storage = openMemoryStorage();
    const { node } = makeNode(storage, [testSeal()]);
    const failing = { ...auto, fill: () => Promise.reject(new Error("no")) };
    await expect(node.initialize(failing)).rejects.toThrow("no");
    expect(await storage.scan({ from: "", to: "\u{10ffff}", limit: 10 })).toEqual([]);
    await node.initialize(auto);
    expect(node.state).toBe("unsealed");
  });

  it("gives recovery keys with an auto seal when they are asked for, and no unseal keys", async () => {
    const { node } = makeNode(openMemoryStorage(), [testSeal()]);
    const { keys, recoveryKeys } = await node.initialize({ ...auto, recoveryShares: 5, recoveryThreshold: 3 });
    expect([keys.length, recoveryKeys.length]).toEqual([0, 5]);
    expect(node.config).toMatchObject({ recoveryShares: 5, recoveryThreshold: 3 });
  });
});

describe("a node with several seals", () => {
  async function startTwo() {
    const storage = openMemoryStorage();
    const [one, two] = [frailSeal("one", 1), frailSeal("two", 2)];
    await makeNode(storage, [one.seal, two.seal]).node.initialize(auto);
    return { storage, one, two, ...makeNode(storage, [one.seal, two.seal]) };
  }

  it("opens by whichever answers", async () => {
    const { node, one } = await startTwo();
    one.fail(new SealError("Unreachable", "no answer", { transient: true }));
    expect(await node.tryAutoUnseal()).toBe(true);
    expect([node.state, node.troubles]).toEqual(["unsealed", []]);
  });

  it("says of each why it does not open, and since when", async () => {
    const { node, one, two, clock } = await startTwo();
    one.fail(new SealError("KeyDisabled", "the key is disabled", { transient: true }));
    two.fail(new Error("something else"));
    const since = clock.now();
    expect(await node.tryAutoUnseal()).toBe(false);
    await clock.advance(5_000);
    await node.tryAutoUnseal();
    expect(node.troubles).toEqual([
      { seal: "one", fault: "KeyDisabled", message: "the key is disabled", sinceMillis: since },
      { seal: "two", fault: "Failed", message: "something else", sinceMillis: since },
    ]);
    one.fail(new SealError("Throttled", "slow down", { transient: true }));
    await node.tryAutoUnseal();
    expect(node.troubles[0]).toMatchObject({ fault: "Throttled", sinceMillis: since + 5_000 });
    two.fail(undefined);
    expect(await node.tryAutoUnseal()).toBe(true);
    expect(node.troubles).toEqual([]);
  });

  it("is not opened by a seal of the same name with another key", async () => {
    const storage = openMemoryStorage();
    await makeNode(storage, [testSeal("one", 1)]).node.initialize(auto);
    const { node, barrier } = makeNode(storage, [testSeal("one", 2)]);
    expect(await node.tryAutoUnseal()).toBe(false);
    expect(node.troubles).toMatchObject([{ seal: "one", fault: "InvalidCiphertext" }]);
    expect(barrier.isSealed).toBe(true);
  });
});

describe("a node beside other workers of its server", () => {
  async function besides() {
    const one = await startShamir(3, 2);
    const told: string[] = [];
    const given: Buffer[] = [];
    const shared = {
      ...aloneUnseal(),
      opened: async (rootKey: SecretBytes) => void given.push(Buffer.from(rootKey.expose())),
      sealed: async () => void told.push("sealed"),
      troubled: () => void told.push("troubled"),
    };
    const clock = new FakeClock();
    const barrier = new Barrier({ storage: one.storage, clock, log: silentLog });
    const seals = new SealSet([createShamirSeal("shamir")]);
    const deps = { storage: one.storage, barrier, seals, clock, log: silentLog };
    return { ...one, two: new Node({ ...deps, shared }), told, given };
  }

  it("tells them the root key when it opens and that it was sealed", async () => {
    const { two, share, told, given } = await besides();
    for (const i of [0, 1]) await two.submitShare(share(i));
    expect([two.state, given.length]).toEqual(["unsealed", 1]);
    await two.seal();
    expect([two.state, told]).toEqual(["sealed", ["sealed"]]);
  });

  it("opens with the key that another found, and tells nothing back", async () => {
    const { two, share, given } = await besides();
    for (const i of [0, 1]) await two.submitShare(share(i));
    const rootKey = new SecretBytes(given[0] ?? Buffer.alloc(0));
    await two.seal();
    await two.adopt(rootKey);
    await two.adopt(rootKey);
    expect([two.state, given.length]).toEqual(["unsealed", 1]);
  });

  it("stays sealed with a key that is not its store's", async () => {
    const { two } = await besides();
    await expect(two.adopt(SecretBytes.random(32))).rejects.toMatchObject({ fault: "InvalidCiphertext" });
    expect(two.state).toBe("sealed");
  });
});
