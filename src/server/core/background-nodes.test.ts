import { describe, expect, it } from "vitest";
import { type Core, coreParts, startCore, testSeal } from "#test/kit/core.ts";
import { type AssembledServer, assemble } from "../assemble.ts";
import { expiryBucket, leaseReferenceKind } from "../leases/lease-record.ts";
import { DUE_PAGE } from "./due-window.ts";

const MANY = 1_200;

async function startNodes(count: number): Promise<{ core: Core; nodes: readonly AssembledServer[] }> {
  const core = await startCore();
  const nodes = [core.server];
  while (nodes.length < count) {
    const node = assemble(coreParts({ storage: core.storage, clock: core.clock, seals: [testSeal()] }));
    await node.services.node.tryAutoUnseal();
    nodes.push(node);
  }
  return { core, nodes };
}

/** Tokens that end in a minute. */
async function tokens(core: Core, count: number): Promise<void> {
  await core.policy("p", 'path "x" { capabilities = ["read"] }');
  for (let i = 0; i < count; i++) await core.token({ policies: ["p"], ttl: "60s", no_parent: true });
}

const left = async (core: Core) => (await core.dump("core/expiry/")).size;

async function sweepAll(core: Core, nodes: readonly AssembledServer[]): Promise<void> {
  for (let round = 0; round < 500; round++) {
    await Promise.all(nodes.map((node) => node.background.sweep()));
    if ((await left(core)) === 0) return;
  }
  throw new Error("leases are left");
}

describe("many leases that are due at once", () => {
  it("are ended in pages: what one node holds of them is bounded, and so is what it does at once", async () => {
    const { core } = await startNodes(1);
    await tokens(core, 2 * DUE_PAGE + 50);
    await core.clock.advance(60_000);
    const [scan, commit] = [core.storage.scan.bind(core.storage), core.storage.commit.bind(core.storage)];
    const seen = { page: 0, atOnce: 0, running: 0, pauses: 0 };
    core.storage.scan = async (range) => {
      const keys = await scan(range);
      seen.page = Math.max(seen.page, keys.length);
      return keys;
    };
    core.storage.commit = async (batch) => {
      seen.atOnce = Math.max(seen.atOnce, ++seen.running);
      await core.clock.sleep(0);
      return commit(batch).finally(() => seen.running--);
    };
    await core.settle();
    expect(await left(core)).toBe(0);
    expect(seen.page).toBe(DUE_PAGE);
    expect(seen.atOnce).toBe(16);
  });

  it("leave room for requests: a node rests as long as it worked", async () => {
    const { core } = await startNodes(1);
    await tokens(core, DUE_PAGE);
    await core.clock.advance(60_000);
    let now = core.clock.now();
    core.clock.now = () => now;
    const rests: number[] = [];
    core.clock.sleep = async (millis) => void rests.push(millis);
    const commit = core.storage.commit.bind(core.storage);
    core.storage.commit = async (batch) => {
      now += 1;
      return commit(batch);
    };
    await core.server.background.sweep();
    expect(await left(core)).toBe(0);
    expect(rests.filter((millis) => millis > 0 && millis <= 25).length).toBeGreaterThanOrEqual(12);
  });

  it("are shared out among three nodes, which hardly meet", async () => {
    const { core, nodes } = await startNodes(3);
    await tokens(core, MANY);
    await core.clock.advance(60_000);
    await sweepAll(core, nodes);
    const conflicts = nodes.map(({ services }) => services.sweeps.conflicts.leases);
    const all = conflicts.reduce((sum, each) => sum + each);
    // 40 to 60 of them.
    expect(all).toBeLessThan(MANY / 10);
  });

  it("are found wherever in a long backlog they are, also behind some that stay", async () => {
    const { core } = await startNodes(1);
    const tx = core.services.barrier.begin();
    const now = Math.floor(core.clock.now() / 1000);
    for (let i = 0; i < 3 * DUE_PAGE; i++) {
      const digest = i.toString(16).padStart(32, "0");
      tx.write(leaseReferenceKind, `${expiryBucket(now - i * 7)}/${digest}`, { leaseId: "gone", namespace: "" });
    }
    await tx.commit();
    await core.settle();
    expect(await left(core)).toBe(0);
  });
});
