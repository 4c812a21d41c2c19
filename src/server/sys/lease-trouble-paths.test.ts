import { describe, expect, it } from "vitest";
import { type Core, startCore, textOf } from "#test/kit/core.ts";
import { createProbe, type Probe } from "#test/kit/probe-engine.ts";

/** More than one transaction's budget, so that jobs are left. */
const MANY = 450;
const CAUSE = "the other system is down";

interface Leasing {
  readonly core: Core;
  readonly probe: Probe;
}

async function startLeasing(): Promise<Leasing> {
  const probe = createProbe();
  const core = await startCore({ engines: [probe.type] });
  await mount(core);
  return { core, probe };
}

async function mount(core: Core, namespace = ""): Promise<void> {
  await core.root("update", "sys/mounts/p", { type: "probe" }, { namespace });
  await core.root("update", "p/note/config", { a: 1 }, { namespace });
}

async function lease(core: Core, id: string, namespace = "", ttl = "1s"): Promise<string> {
  return textOf((await core.root("read", `p/lease/${id}`, { ttl }, { namespace })).body, "lease_id");
}

/** Lets what is due fail as often as it takes. */
async function giveUp({ core, probe }: Leasing): Promise<void> {
  probe.failing = true;
  for (let i = 0; i < 8; i++) {
    await core.clock.advance(1_000_000);
    await core.settle();
  }
  probe.failing = false;
}

async function irrevocable(core: Core, data = {}, namespace = "") {
  return (await core.root("read", "sys/leases", { type: "irrevocable", ...data }, { namespace })).data;
}

async function indexed(core: Core): Promise<number> {
  return [...(await core.dump()).keys()].filter((key) => key.includes("core/irrevocable/")).length;
}

describe("leases that could not be ended", () => {
  it("are listed with their cause and counted by mount", async () => {
    const leasing = await startLeasing();
    const { core } = leasing;
    const leaseId = await lease(core, "a");
    await lease(core, "fine", "", "700h");
    expect(await irrevocable(core)).toEqual({ lease_count: 0, leases: [] });
    await giveUp(leasing);
    expect(await irrevocable(core)).toMatchObject({ lease_count: 1, leases: [{ lease_id: leaseId, error: CAUSE }] });
    const mounts = (await core.root("read", "sys/mounts")).data;
    const accessor = textOf(Object(mounts["p/"]), "accessor");
    const counted = await core.root("read", "sys/leases/count", { type: "irrevocable" });
    expect(counted.data).toEqual({ lease_count: 1, counts: { [accessor]: 1 } });
    const seen = await core.root("update", "sys/leases/lookup", { lease_id: leaseId });
    expect(seen.data).toMatchObject({ revoke_error: CAUSE, expire_time: null, ttl: 0 });
  });

  it("are shown up to a limit, and counted all", async () => {
    const leasing = await startLeasing();
    const { core } = leasing;
    for (const id of ["a", "b", "c"]) await lease(core, id);
    await giveUp(leasing);
    const found = await irrevocable(core, { limit: "2" });
    expect(found["lease_count"]).toBe(3);
    expect(found["leases"]).toHaveLength(2);
    const refused = await core.send(core.rootToken, "read", "sys/leases", { type: "irrevocable", limit: "0" });
    expect(refused.status).toBe(400);
  });

  it("of namespaces below are shown on demand, those above never", async () => {
    const leasing = await startLeasing();
    const { core } = leasing;
    await core.root("update", "sys/namespaces/a");
    await mount(core, "a");
    await lease(core, "above");
    const below = await lease(core, "below", "a");
    await giveUp(leasing);
    expect((await irrevocable(core))["lease_count"]).toBe(1);
    expect((await irrevocable(core, { include_child_namespaces: true }))["lease_count"]).toBe(2);
    expect(await irrevocable(core, {}, "a")).toMatchObject({ lease_count: 1, leases: [{ lease_id: below }] });
  });

  it.each([
    ["revoked", "sys/leases/revoke"],
    ["tried again", "sys/leases/retry"],
  ])("are gone from the list when they are %s", async (_how, path) => {
    const leasing = await startLeasing();
    const { core, probe } = leasing;
    const leaseId = await lease(core, "a");
    await giveUp(leasing);
    expect(await indexed(core)).toBe(1);
    await core.root("update", path, { lease_id: leaseId });
    await core.settle();
    expect(probe.ended).toEqual(["a"]);
    expect(await indexed(core)).toBe(0);
    expect((await core.dump("core/lease/")).size).toBe(0);
  });

  it("are gone when they are forced by prefix", async () => {
    const leasing = await startLeasing();
    await lease(leasing.core, "a");
    await giveUp(leasing);
    leasing.probe.failing = true;
    await leasing.core.root("update", "sys/leases/revoke-force/p");
    expect(await irrevocable(leasing.core)).toEqual({ lease_count: 0, leases: [] });
  });

  it("are all tried again at once, and come back when it fails again", async () => {
    const leasing = await startLeasing();
    const { core } = leasing;
    for (const id of ["a", "b"]) await lease(core, id);
    await giveUp(leasing);
    expect((await core.root("update", "sys/leases/retry")).data).toEqual({ retried: 2 });
    expect(await indexed(core)).toBe(0);
    await giveUp(leasing);
    expect((await irrevocable(core))["lease_count"]).toBe(2);
    expect((await core.send(core.rootToken, "update", "sys/leases/retry", { lease_id: "p/none" })).status).toBe(400);
  });

  it("cannot be renewed", async () => {
    const leasing = await startLeasing();
    const leaseId = await lease(leasing.core, "a");
    await giveUp(leasing);
    const refused = await leasing.core.send(leasing.core.rootToken, "update", "sys/leases/renew", {
      lease_id: leaseId,
    });
    expect(refused).toMatchObject({ status: 400, error: "lease is not renewable" });
  });
});

describe("sys/leases", () => {
  it("knows no other types, and wants sudo where it shows leases or changes them", async () => {
    const { core } = await startLeasing();
    expect((await core.send(core.rootToken, "read", "sys/leases", { type: "live" })).status).toBe(400);
    expect((await core.send(core.rootToken, "read", "sys/leases/count")).status).toBe(400);
    await core.policy("l", 'path "sys/leases*" { capabilities = ["read", "update"] }');
    const token = await core.token({ policies: ["l"] });
    const asked = { type: "irrevocable" };
    expect((await core.send(token, "read", "sys/leases", asked)).status).toBe(403);
    expect((await core.send(token, "read", "sys/leases/jobs")).status).toBe(403);
    expect((await core.send(token, "update", "sys/leases/retry")).status).toBe(403);
    expect((await core.send(token, "read", "sys/leases/count", asked)).status).toBe(200);
  });

  it("has nothing to tidy and says so", async () => {
    const { core } = await startLeasing();
    const reply = await core.root("update", "sys/leases/tidy");
    expect(reply.status).toBe(202);
    expect(reply.body["warnings"]).toHaveLength(1);
  });
});

describe("sys/leases/jobs", () => {
  it("shows how far a revocation by prefix is, until it is done", async () => {
    const { core, probe } = await startLeasing();
    for (let i = 0; i < MANY; i++) await lease(core, `n${i}`, "", "1h");
    probe.failing = true;
    await core.root("update", "sys/leases/revoke-force/p/lease");
    const jobs = async () => Object.values((await core.root("read", "sys/leases/jobs")).data);
    expect(await jobs()).toEqual([{ kind: "force", target: "p/lease/", done: 0, started: null, namespace_path: "" }]);
    await core.server.background.sweep();
    expect(await jobs()).toMatchObject([{ kind: "force", done: 200, started: expect.stringContaining("T") }]);
    await core.settle();
    expect(await jobs()).toEqual([]);
    expect((await core.dump("core/lease/")).size).toBe(0);
  });

  it("shows those of other namespaces to nobody but the ones above", async () => {
    const { core, probe } = await startLeasing();
    await core.root("update", "sys/namespaces/a");
    await lease(core, "a", "", "1h");
    probe.failing = true;
    await core.root("delete", "sys/mounts/p");
    expect(Object.keys((await core.root("read", "sys/leases/jobs")).data)).toHaveLength(2);
    expect((await core.root("read", "sys/leases/jobs", {}, { namespace: "a" })).data).toEqual({});
  });
});
