import { describe, expect, it } from "vitest";
import { CofferError } from "#common/errors.ts";
import { type Core, coreParts, startCore, testSeal, textOf } from "#test/kit/core.ts";
import { createMaker, type Maker } from "#test/kit/maker-engine.ts";
import { type AssembledServer, assemble } from "../assemble.ts";
import { CLAIM_SECONDS } from "./claim.ts";

interface Nodes {
  readonly core: Core;
  /** The first is the core's. */
  readonly nodes: readonly AssembledServer[];
  readonly maker: Maker;
}

async function startNodes(count: number): Promise<Nodes> {
  const maker = createMaker(90);
  const core = await startCore({ engines: [maker.type] });
  await core.root("update", "sys/mounts/m", { type: "maker" });
  const nodes = [core.server];
  while (nodes.length < count) {
    const parts = coreParts({ storage: core.storage, clock: core.clock, engines: [maker.type], seals: [testSeal()] });
    const node = assemble(parts);
    await node.services.node.tryAutoUnseal();
    nodes.push(node);
  }
  return { core, nodes, maker };
}

async function lease(core: Core, id: string, ttl = "60s"): Promise<string> {
  return textOf((await core.root("update", `m/make/${id}`, { ttl })).body, "lease_id");
}

const lookUp = (core: Core, lease_id: string) => core.send(core.rootToken, "update", "sys/leases/lookup", { lease_id });

/** Commits that met another's, of whichever node, from now on. */
function countConflicts({ storage }: Core): () => number {
  const commit = storage.commit.bind(storage);
  let conflicts = 0;
  storage.commit = async (batch) => {
    const outcome = await commit(batch);
    if (outcome === "conflict") conflicts++;
    return outcome;
  };
  return () => conflicts;
}

/** Sweeps on all nodes at once until no lease is left. */
async function sweepAll({ core, nodes }: Nodes): Promise<void> {
  for (let round = 0; round < 200; round++) {
    await Promise.all(nodes.map((node) => node.background.sweep()));
    if ((await core.dump("core/expiry/")).size === 0) return;
  }
  throw new Error("leases are left");
}

describe("ending something outside", () => {
  it("happens once for each lease, by three nodes that sweep at the same time", async () => {
    const all = await startNodes(3);
    const { core, maker } = all;
    for (let i = 0; i < 120; i++) await lease(core, `n${i}`);
    await core.clock.advance(60_000);
    const conflicts = countConflicts(core);
    await sweepAll(all);
    expect([...maker.outside]).toEqual([]);
    expect([...maker.endings.values()].filter((times) => times > 1)).toEqual([]);
    expect(maker.endings.size).toBe(120);
    // Of 240 commits: who loses a claim leaves it.
    expect(conflicts()).toBeLessThan(60);
  });

  it("is left to the node that has begun, until its claim is over", async () => {
    const { core, nodes, maker } = await startNodes(2);
    const leaseId = await lease(core, "a");
    await core.clock.advance(60_000);
    maker.hanging = () => true;
    const first = nodes[0]?.background.sweep();
    await expect.poll(() => maker.undoing).toBe(1);
    maker.hanging = () => false;
    await nodes[1]?.background.sweep();
    expect(maker.endings.get("a-1")).toBe(1);
    expect((await lookUp(core, leaseId)).status).toBe(400);
    const asked = await core.send(core.rootToken, "update", "sys/leases/revoke", { lease_id: leaseId });
    expect(asked.status).toBe(503);
    expect(asked.error).toContain("is being ended");
    // The first one notes that it took too long, the second one ends it after the wait.
    await core.clock.advance(CLAIM_SECONDS * 1000);
    await first;
    await core.clock.advance(10_000);
    await nodes[1]?.background.sweep();
    expect([...maker.outside]).toEqual([]);
    expect((await core.dump("core/lease/")).size).toBe(0);
  });

  it("passes to the next node when the one that has begun is gone, whose late commit comes to nothing", async () => {
    const { core, nodes, maker } = await startNodes(2);
    await lease(core, "a");
    await core.clock.advance(60_000);
    let goOn = () => {};
    const paused = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const commit = core.storage.commit.bind(core.storage);
    // The first node's commit of the end is held up; nothing of that process runs any more.
    let held = false;
    core.storage.commit = async (batch) => {
      const isEnd = [...batch.writes].some(([key, value]) => key.startsWith("core/lease/m/") && value === null);
      if (!isEnd || held) return commit(batch);
      held = true;
      await paused;
      return commit(batch);
    };
    const first = nodes[0]?.background.sweep();
    await expect.poll(() => held).toBe(true);
    const now = core.clock.now();
    core.clock.now = () => now + (CLAIM_SECONDS + 1) * 1000;
    await nodes[1]?.background.sweep();
    expect(maker.endings.get("a-1")).toBe(2);
    expect((await core.dump("core/lease/")).size).toBe(0);
    const again = await lease(core, "b");
    goOn();
    await first;
    expect((await lookUp(core, again)).status).toBe(200);
    expect([...maker.outside]).toEqual(["b-2"]);
  });

  it("is begun again after a crash in the middle of a request that ends the lease", async () => {
    const { core, nodes, maker } = await startNodes(2);
    const leaseId = await lease(core, "a", "1h");
    const commit = core.storage.commit.bind(core.storage);
    core.storage.commit = async (batch) => {
      if ([...batch.writes].some(([key, value]) => key.startsWith("core/lease/m/") && value === null))
        throw new CofferError("unavailable", "the process is gone");
      return commit(batch);
    };
    const ended = core.root("update", "sys/leases/revoke", { lease_id: leaseId });
    await expect(ended).rejects.toThrow("503");
    core.storage.commit = commit;
    expect([...maker.outside]).toEqual([]);
    await core.clock.advance(CLAIM_SECONDS * 1000);
    await nodes[1]?.background.sweep();
    expect((await core.dump("core/lease/")).size).toBe(0);
  });

  it("keeps the lease from being renewed once it has begun", async () => {
    const { core, maker } = await startNodes(1);
    const leaseId = await lease(core, "a", "1h");
    maker.failing = true;
    await core.send(core.rootToken, "update", "sys/leases/revoke", { lease_id: leaseId });
    const renewed = await core.send(core.rootToken, "update", "sys/leases/renew", { lease_id: leaseId });
    expect(renewed.status).toBe(400);
    maker.failing = false;
    await core.clock.advance(10_000);
    await core.settle();
    expect([...maker.outside]).toEqual([]);
  });
});

describe("jobs", () => {
  it("that wait for a system which hangs keep nothing else from ending", async () => {
    const { core, nodes, maker } = await startNodes(1);
    for (let i = 0; i < 210; i++) await lease(core, `n${i}`, "1h");
    const token = await core.token({ policies: ["default"], ttl: "60s" });
    await core.root("update", "sys/leases/revoke-force/m/make");
    maker.hanging = () => true;
    const first = nodes[0]?.background.sweep();
    await expect.poll(() => maker.undoing).toBe(8);
    for (let i = 0; i < 61; i++) await core.clock.advance(1_000);
    await first;
    await core.clock.advance(1_000);
    const second = nodes[0]?.background.sweep();
    for (let i = 0; i < 5; i++) await core.clock.advance(1_000);
    await second;
    expect((await core.dump("core/token/id/")).size).toBe(1);
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
  });

  it("stay with the node that does them, and pass to the next when it is gone", async () => {
    const { core, nodes } = await startNodes(2);
    const tokens: string[] = [];
    for (let i = 0; i < 450; i++) tokens.push(await core.token({ policies: ["default"] }));
    await core.root("update", "sys/leases/revoke-prefix/auth/token/create");
    const [one, two] = nodes;
    await one?.background.sweep();
    const jobs = await core.dump("core/job/");
    const held = [...jobs.values()].filter((job) => job.includes('"claim"'));
    expect(held.length).toBeGreaterThan(0);
    await two?.background.sweep();
    const after = await core.dump("core/job/");
    for (const [key, job] of jobs) if (job.includes('"claim"')) expect(after.get(key)).toBe(job);
    await core.clock.advance(31_000);
    for (let round = 0; round < 50; round++) await two?.background.sweep();
    expect((await core.dump("core/job/")).size).toBe(0);
    const replies = await Promise.all(tokens.map((token) => core.send(token, "read", "auth/token/lookup-self")));
    expect(replies.filter(({ status }) => status !== 403)).toEqual([]);
  });
});
