import { describe, expect, it } from "vitest";
import { type Core, coreParts, type Reply, requestOf, sendTo, startCore, testSeal, textOf } from "#test/kit/core.ts";
import { createProbe, type Probe } from "#test/kit/probe-engine.ts";
import { assemble } from "../assemble.ts";
import { REVOKE_ATTEMPTS_MAX } from "./expiration.ts";

/** More than any budget of one transaction. */
const MANY = 450;

interface Leasing {
  readonly core: Core;
  readonly probe: Probe;
}

async function startLeasing(): Promise<Leasing> {
  const probe = createProbe();
  const core = await startCore({ engines: [probe.type] });
  await mountProbe(core);
  return { core, probe };
}

async function mountProbe(core: Core): Promise<void> {
  await core.root("update", "sys/mounts/p", { type: "probe" });
  await core.root("update", "p/note/config", { a: 1 });
}

async function lease(core: Core, id: string, ttl = "1h", token = core.rootToken): Promise<string> {
  return textOf((await core.send(token, "read", `p/lease/${id}`, { ttl })).body, "lease_id");
}

async function leases(core: Core, count: number, name = "n"): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push(await lease(core, `${name}${i}`));
  return ids;
}

function lookUp(core: Core, leaseId: string): Promise<Reply> {
  return core.send(core.rootToken, "update", "sys/leases/lookup", { lease_id: leaseId });
}

async function leftKeys(core: Core): Promise<readonly string[]> {
  const keys = [...(await core.dump("core/")).keys()];
  return keys.filter((key) => /^core\/(lease|expiry|token-lease|job|ended-mount)\//.test(key));
}

describe("a lease", () => {
  it("has an id below its path that is never the same, and is found by it", async () => {
    const { core } = await startLeasing();
    const ids = [await lease(core, "a"), await lease(core, "a")];
    expect(new Set(ids).size).toBe(2);
    for (const id of ids) expect(id).toMatch(/^p\/lease\/a\/[0-9A-Za-z]{24}$/);
    expect((await lookUp(core, ids[0] ?? "")).data).toMatchObject({ id: ids[0], ttl: 3600, renewable: true });
  });

  it("is renewed and revoked by the name that paths give its id", async () => {
    const { core, probe } = await startLeasing();
    const id = await lease(core, "a");
    expect((await core.root("update", "sys/leases/renew", { url_lease_id: id })).body["lease_id"]).toBe(id);
    await core.root("update", "sys/leases/revoke", { url_lease_id: id });
    await core.settle();
    expect(probe.ended).toHaveLength(1);
  });

  it("is listed from the top with and without the slash, by who has sudo", async () => {
    const { core } = await startLeasing();
    await lease(core, "a");
    const policy = (capabilities: string) =>
      `path "sys/leases/lookup" { capabilities = [${capabilities}] }\npath "sys/leases/lookup/*" { capabilities = [${capabilities}] }`;
    await core.policy("sees", policy('"list", "update"'));
    await core.policy("lists", policy('"list", "sudo"'));
    const [sees, lists] = [await core.token({ policies: ["sees"] }), await core.token({ policies: ["lists"] })];
    for (const path of ["sys/leases/lookup", "sys/leases/lookup/"]) {
      const { status, data } = await core.send(lists, "list", path);
      expect([path, status, data["keys"]]).toEqual([path, 200, expect.arrayContaining(["p/"])]);
      expect([path, (await core.send(sees, "list", path)).status]).toEqual([path, 403]);
    }
    expect((await core.send(lists, "list", "sys/leases/lookup/p/lease")).data["keys"]).toEqual(["a/"]);
  });

  it("ends at its time through its backend, not before, and leaves nothing", async () => {
    const { core, probe } = await startLeasing();
    await lease(core, "a", "60s");
    await core.clock.advance(59_000);
    await core.settle();
    expect(probe.ended).toEqual([]);
    await core.clock.advance(1_000);
    await core.settle();
    expect(probe.ended).toEqual(["a"]);
    expect(await leftKeys(core)).toEqual([]);
  });

  it("ends later when it was renewed, up to its maximum", async () => {
    const { core, probe } = await startLeasing();
    const made = await core.root("read", "p/lease/a", { ttl: "60s", max_ttl: "100s" });
    const leaseId = textOf(made.body, "lease_id");
    await core.clock.advance(50_000);
    const renewed = await core.root("update", "sys/leases/renew", { lease_id: leaseId, increment: 90 });
    expect(renewed.body["lease_duration"]).toBe(50);
    await core.clock.advance(49_000);
    await core.settle();
    expect(probe.ended).toEqual([]);
    await core.clock.advance(1_000);
    await core.settle();
    expect(probe.ended).toEqual(["a"]);
  });

  it("ends no later than the batch token that made it", async () => {
    const { core } = await startLeasing();
    await core.policy("p", 'path "p/*" { capabilities = ["read"] }');
    const token = await core.token({ type: "batch", policies: ["p"], ttl: "10m" });
    const made = await core.send(token, "read", "p/lease/a", { ttl: "1h" });
    expect(made.body["lease_duration"]).toBe(600);
  });

  it("stays when an index key is left over from another expiry", async () => {
    const { core, probe } = await startLeasing();
    const leaseId = await lease(core, "a", "1h");
    const [key] = [...(await core.dump("core/expiry/")).keys()];
    const value = (await core.dump("core/expiry/")).get(key ?? "") ?? "";
    const stale = (key ?? "").replace(/\d{12}/, "000000000001");
    const tx = core.services.barrier.begin();
    tx.put(stale, Buffer.from(value));
    await tx.commit();
    await core.settle();
    expect(probe.ended).toEqual([]);
    expect((await lookUp(core, leaseId)).status).toBe(200);
    expect([...(await core.dump("core/expiry/")).keys()]).toEqual([key]);
  });
});

describe("a lease that cannot be ended", () => {
  it("is tried again after 10, 20, 40… seconds and then kept for an administrator", async () => {
    const { core, probe } = await startLeasing();
    const leaseId = await lease(core, "a", "60s");
    probe.failing = true;
    await core.clock.advance(60_000);
    await core.settle();
    const record = async () => JSON.parse((await core.dump("core/lease/")).get(`core/lease/${leaseId}`) ?? "{}");
    for (let attempt = 1; attempt < REVOKE_ATTEMPTS_MAX; attempt++) {
      expect(await record()).toMatchObject({ attempts: attempt, lastError: "the other system is down" });
      await core.clock.advance(10_000 * 2 ** (attempt - 1) - 1_000);
      await core.settle();
      expect((await record()).attempts).toBe(attempt);
      await core.clock.advance(1_000);
      await core.settle();
    }
    expect(await record()).toMatchObject({ attempts: REVOKE_ATTEMPTS_MAX, expiresAtSeconds: 0 });
    probe.failing = false;
    await core.clock.advance(365 * 86_400_000);
    await core.settle();
    expect(probe.ended).toEqual([]);
    await core.root("update", "sys/leases/revoke", { lease_id: leaseId });
    expect(probe.ended).toEqual(["a"]);
    expect((await core.dump("core/lease/")).size).toBe(0);
  });

  it("does not keep others from ending", async () => {
    const { core, probe } = await startLeasing();
    await lease(core, "bad", "60s");
    probe.failing = true;
    await core.clock.advance(60_000);
    await core.settle();
    await lease(core, "good", "1s");
    probe.failing = false;
    await core.clock.advance(1_000);
    await core.settle();
    expect(probe.ended).toEqual(["good"]);
  });

  it("does not keep its token alive, and ends when the other system is back", async () => {
    const { core, probe } = await startLeasing();
    await core.policy("p", 'path "p/*" { capabilities = ["read"] }');
    const token = await core.token({ policies: ["p", "default"] });
    await lease(core, "a", "1h", token);
    probe.failing = true;
    await core.root("update", "auth/token/revoke", { token });
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
    await core.settle();
    expect([...(await core.dump("core/token-lease/")).keys()]).toEqual([]);
    probe.failing = false;
    await core.clock.advance(10_000);
    await core.settle();
    expect(probe.ended).toEqual(["a"]);
    expect(await leftKeys(core)).toEqual([]);
  });

  it("fails the request that ends it, and stays; force ends it all the same", async () => {
    const { core, probe } = await startLeasing();
    const leaseId = await lease(core, "a");
    probe.failing = true;
    const refused = await core.send(core.rootToken, "update", "sys/leases/revoke", { lease_id: leaseId });
    expect(refused.status).toBe(502);
    expect((await core.send(core.rootToken, "update", "sys/leases/revoke-prefix/p")).status).toBe(502);
    expect((await lookUp(core, leaseId)).status).toBe(200);
    await core.root("update", "sys/leases/revoke-force/p");
    expect((await lookUp(core, leaseId)).status).toBe(400);
    expect(await leftKeys(core)).toEqual([]);
  });
});

describe("leases of a token", () => {
  it("end with it, however many there are", async () => {
    const { core, probe } = await startLeasing();
    await core.policy("p", 'path "p/*" { capabilities = ["read"] }');
    const token = await core.token({ policies: ["p", "default"] });
    const last: string[] = [];
    for (let i = 0; i < MANY + 100; i++) last[0] = await lease(core, `n${i}`, "1h", token);
    await core.root("update", "auth/token/revoke", { token });
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
    await core.settle();
    expect(new Set(probe.ended).size).toBe(MANY + 100);
    expect((await lookUp(core, last[0] ?? "")).status).toBe(400);
    expect(await leftKeys(core)).toEqual([]);
  });
});

describe("ending leases by prefix", () => {
  it("waits until all have ended, and says when that takes too long to wait for", async () => {
    const { core, probe } = await startLeasing();
    await leases(core, MANY);
    const waiting = core.send(core.rootToken, "update", "sys/leases/revoke-prefix/p/lease");
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    await core.settle();
    expect((await waiting).status).toBe(204);
    expect(new Set(probe.ended).size).toBe(MANY);
    await leases(core, MANY);
    const late = await core.send(core.rootToken, "update", "sys/leases/revoke-prefix/p/lease");
    expect([late.status, late.body["warnings"]]).toEqual([202, [expect.stringContaining("sys/leases/jobs")]]);
  });

  it.each([
    ["revoke-prefix/p/lease", {}],
    ["revoke-prefix/p/lease/a", {}],
    ["revoke", { lease_id: "?" }],
    ["revoke", { url_lease_id: "?" }],
  ])("leaves it to the background without sync, whatever the backend says now: %s %j", async (how, sent) => {
    const { core, probe } = await startLeasing();
    const id = await lease(core, "a");
    probe.failing = true;
    const data = Object.fromEntries(Object.keys(sent).map((name) => [name, id]));
    const { status, text } = await core.send(core.rootToken, "update", `sys/leases/${how}`, { ...data, sync: false });
    expect([status, text]).toEqual([202, ""]);
    probe.failing = false;
    await core.settle();
    expect(probe.ended).toHaveLength(1);
    expect((await lookUp(core, id)).status).toBe(400);
  });

  it.each(["revoke-prefix", "revoke-force"])("%s ends all of them beyond one transaction's budget", async (how) => {
    const { core, probe } = await startLeasing();
    await leases(core, MANY);
    await core.root("update", `sys/leases/${how}/p/lease`);
    await core.settle();
    expect(new Set(probe.ended).size).toBe(MANY);
    expect(await leftKeys(core)).toEqual([]);
  });

  it("leaves those alone that are issued afterwards", async () => {
    const { core } = await startLeasing();
    await leases(core, MANY);
    await core.root("update", "sys/leases/revoke-prefix/p/lease");
    await core.clock.advance(1_000);
    const later = await lease(core, "n1");
    await core.settle();
    expect((await lookUp(core, later)).status).toBe(200);
    expect(await leftKeys(core)).toHaveLength(3);
  });
});

describe("a mount that is disabled", () => {
  it("ends its leases through its backend, then deletes its data", async () => {
    const { core, probe } = await startLeasing();
    await leases(core, MANY);
    await core.root("delete", "sys/mounts/p");
    expect((await core.send(core.rootToken, "read", "p/note/config")).status).toBe(404);
    await core.settle();
    expect(new Set(probe.ended).size).toBe(MANY);
    await core.settle();
    expect(await leftKeys(core)).toEqual([]);
    expect((await core.dump("mount/")).size).toBe(0);
  });

  it("keeps its data until the last lease has ended", async () => {
    const { core, probe } = await startLeasing();
    await lease(core, "a");
    probe.failing = true;
    await core.root("delete", "sys/mounts/p");
    await core.settle();
    expect((await core.dump("mount/")).size).toBe(1);
    probe.failing = false;
    await core.clock.advance(10_000);
    await core.settle();
    await core.settle();
    expect(probe.ended).toEqual(["a"]);
    expect((await core.dump("mount/")).size).toBe(0);
    expect(await leftKeys(core)).toEqual([]);
  });

  it("leaves alone what a new mount at its path issues", async () => {
    const { core, probe } = await startLeasing();
    await leases(core, MANY);
    await core.root("delete", "sys/mounts/p");
    await core.clock.advance(1_000);
    await mountProbe(core);
    const fresh = await lease(core, "fresh");
    await core.settle();
    await core.settle();
    expect(probe.ended).not.toContain("fresh");
    expect((await lookUp(core, fresh)).status).toBe(200);
    expect((await core.root("read", "p/note/config")).data).toEqual({ note: '{"a":1}' });
    expect((await core.dump("mount/")).size).toBe(1);
  });

  it("misses no lease that is issued at the same time", async () => {
    const { core, probe } = await startLeasing();
    const made = Array.from({ length: 8 }, (_, i) => core.send(core.rootToken, "read", `p/lease/n${i}`));
    const [, ...replies] = await Promise.all([core.root("delete", "sys/mounts/p"), ...made]);
    await core.settle();
    await core.settle();
    expect(probe.ended.length).toBe(replies.filter(({ status }) => status === 200).length);
    expect(await leftKeys(core)).toEqual([]);
  });

  it("ends the tokens of an auth method", async () => {
    const core = await startCore();
    await core.root("update", "sys/auth/roles", { type: "approle" });
    await core.root("update", "auth/roles/role/r", { bind_secret_id: false, token_bound_cidrs: "127.0.0.0/8" });
    const roleId = textOf((await core.root("read", "auth/roles/role/r/role-id")).data, "role_id");
    const logIn = async () =>
      textOf((await core.send("", "update", "auth/roles/login", { role_id: roleId })).auth, "client_token");
    const tokens: string[] = [];
    for (let i = 0; i < MANY; i++) tokens.push(await logIn());
    const other = await core.token();
    await core.root("delete", "sys/auth/roles");
    await core.settle();
    const states = await Promise.all(tokens.map((token) => core.send(token, "read", "auth/token/lookup-self")));
    expect(states.every(({ status }) => status === 403)).toBe(true);
    expect((await core.send(other, "read", "auth/token/lookup-self")).status).toBe(200);
    expect((await core.dump("core/token/id/")).size).toBe(2);
  });
});

describe("a job that fails", () => {
  it("keeps neither leases nor other jobs from their end", async () => {
    const { core, probe } = await startLeasing();
    const tx = core.services.barrier.begin();
    tx.put("core/job/0-damaged", Buffer.from("no job"));
    await tx.commit();
    await leases(core, 3);
    await lease(core, "short", "1s");
    await core.root("delete", "sys/mounts/p");
    await core.clock.advance(1_000);
    await core.settle();
    await core.settle();
    expect([...probe.ended].sort()).toEqual(["n0", "n1", "n2", "short"]);
    expect(await leftKeys(core)).toEqual(["core/job/0-damaged"]);
  });
});

describe("two nodes on one store", () => {
  it("end every lease between them, without a leader", async () => {
    const { core, probe } = await startLeasing();
    await leases(core, 40);
    const second = assemble(
      coreParts({ storage: core.storage, clock: core.clock, engines: [probe.type], seals: [testSeal()] }),
    );
    await second.services.node.tryAutoUnseal();
    await core.clock.advance(3_600_000);
    await Promise.all([core.settle(), second.background.sweep()]);
    expect(new Set(probe.ended).size).toBe(40);
    expect(await leftKeys(core)).toEqual([]);
    const reply = await sendTo(second, requestOf(core.rootToken, "read", "p/note/config", {}));
    expect(reply.status).toBe(200);
  });
});
