import { describe, expect, it } from "vitest";
import { type Core, startCore, textOf } from "#test/kit/core.ts";
import { createProbe } from "#test/kit/probe-engine.ts";

const IN = { namespace: "n" };

async function startFilled() {
  const probe = createProbe();
  const core = await startCore({ engines: [probe.type] });
  const { data } = await core.root("update", "sys/namespaces/n");
  await core.root("update", "sys/mounts/p", { type: "probe" }, IN);
  await core.root("update", "p/note/config", { v: "1" }, IN);
  await core.root("update", "sys/mounts/kv", { type: "kv" }, IN);
  await core.root("update", "kv/a", { v: "secret" }, IN);
  await core.root("update", "sys/auth/up", { type: "userpass" }, IN);
  await core.root("update", "auth/up/users/u", { password: "pw" }, IN);
  const token = textOf((await core.send("", "update", "auth/up/login/u", { password: "pw" }, IN)).auth, "client_token");
  await core.root("read", "p/lease/1", { ttl: "1h" }, IN);
  await core.root("update", "sys/quotas/lease-count/q", { max_leases: 10 }, IN);
  return { core, probe, id: textOf(data, "id"), token };
}

/** One job waits for what another does, and they come in any order. */
async function settleAll(core: Core): Promise<void> {
  for (let round = 0; round < 6; round++) await core.settle();
}

async function remains(core: Core, id: string): Promise<readonly string[]> {
  const dump = await core.dump();
  return [...dump].filter(([key, value]) => (key + value).includes(id)).map(([key]) => key);
}

describe("deleting a namespace", () => {
  it("ends what is in it and leaves nothing, and the name is free again", async () => {
    const { core, probe, id, token } = await startFilled();
    const before = await core.dump("mount/");
    expect((await core.root("delete", "sys/namespaces/n")).data).toEqual({ status: "in-progress" });
    expect((await core.root("read", "sys/namespaces/n")).data["tainted"]).toBe(true);
    expect((await core.send(core.rootToken, "read", "kv/a", {}, IN)).status).toBe(404);
    await settleAll(core);
    expect((await core.send(core.rootToken, "read", "sys/namespaces/n")).status).toBe(404);
    expect(probe.ended).toEqual(["1"]);
    expect(await remains(core, id)).toEqual([]);
    expect(before.size).toBeGreaterThan(0);
    expect([...(await core.dump("mount/")).values()].join()).not.toContain("secret");
    expect([...(await core.dump("core/quota/")).keys()]).toEqual([]);
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
    const again = await core.root("update", "sys/namespaces/n");
    expect(again.data["id"]).not.toBe(id);
    expect((await core.send(core.rootToken, "read", "n/kv/a")).status).toBe(404);
  });

  it("refuses while there are others below it", async () => {
    const { core } = await startFilled();
    await core.root("update", "sys/namespaces/m", {}, IN);
    const reply = await core.send(core.rootToken, "delete", "sys/namespaces/n");
    expect([reply.status, reply.error]).toEqual([400, 'cannot delete namespace ("n/") containing child namespaces']);
  });

  it("waits for a lease that does not end, and lets an administrator end it", async () => {
    const { core, probe } = await startFilled();
    probe.failing = true;
    await core.root("delete", "sys/namespaces/n");
    for (let round = 0; round < 10; round++) {
      await core.settle();
      core.clock.advance(3_600_000);
    }
    expect((await core.root("read", "sys/namespaces/n")).data["tainted"]).toBe(true);
    await core.root("update", "sys/leases/revoke-force/p", {}, IN);
    await settleAll(core);
    expect((await core.send(core.rootToken, "read", "sys/namespaces/n")).status).toBe(404);
  });

  it("makes a write that was under way come to nothing", async () => {
    const { core, probe } = await startFilled();
    probe.during = async () => {
      probe.during = async () => {};
      await core.root("delete", "sys/namespaces/n");
    };
    expect((await core.send(core.rootToken, "update", "p/run/a", {}, IN)).status).toBe(404);
  });
});

describe("leases in a namespace", () => {
  it("end in their own time, through their backend, and can be renewed from above", async () => {
    const { core, probe } = await startFilled();
    const reply = await core.root("read", "p/lease/2", { ttl: "10s" }, IN);
    const leaseId = textOf(reply.body, "lease_id");
    expect(leaseId).toMatch(/^p\/lease\/2\/[0-9A-Za-z]{24}\.[0-9A-Za-z]{6}$/);
    await core.root("update", "sys/leases/renew", { lease_id: leaseId, increment: 60 });
    core.clock.advance(30_000);
    await core.settle();
    expect(probe.ended).toEqual([]);
    await core.root("update", "sys/namespaces/other");
    const beside = await core.send(
      core.rootToken,
      "update",
      "sys/leases/lookup",
      { lease_id: leaseId },
      { namespace: "other" },
    );
    expect(beside.status).toBe(400);
    core.clock.advance(40_000);
    await core.settle();
    expect(probe.ended).toEqual(["2"]);
  });

  it("end with a token of the root namespace that made them", async () => {
    const { core, probe } = await startFilled();
    const token = await core.token({ policies: ["root"] });
    expect((await core.send(token, "read", "p/lease/3", { ttl: "1h" }, IN)).status).toBe(200);
    await core.root("update", "auth/token/revoke", { token });
    await core.settle();
    expect(probe.ended).toEqual(["3"]);
  });
});
