import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Core, startCore, textOf } from "#test/kit/core.ts";

const HOUR = 3_600;
const MONTH = 2_764_800;

async function lookUp(core: Core, token: string): Promise<JsonObject> {
  return (await core.send(token, "read", "auth/token/lookup-self")).data;
}

describe("the life of a token", () => {
  it.each<[string, JsonObject, JsonObject | undefined, number]>([
    ["the mount's default", {}, undefined, MONTH],
    ["what is asked", { ttl: "1h" }, undefined, HOUR],
    ["at most the mount's maximum", { ttl: "10000h" }, undefined, MONTH],
    ["at most its own hard end", { ttl: "2h", explicit_max_ttl: "1h" }, undefined, HOUR],
    ["its period, whatever is asked", { ttl: "1h", period: "30m" }, undefined, 1_800],
    ["its period within the hard end", { period: "2h", explicit_max_ttl: "1h" }, undefined, HOUR],
    ["the role's period before its own", { period: "2h" }, { token_period: "1h" }, HOUR],
    ["the role's hard end", { ttl: "2h" }, { token_explicit_max_ttl: "1h" }, HOUR],
    ["the earlier of two hard ends", { explicit_max_ttl: "30m" }, { token_explicit_max_ttl: "1h" }, 1_800],
  ])("is %s", async (_what, data, role, seconds) => {
    const core = await startCore();
    if (role) await core.root("update", "auth/token/roles/r", role);
    const token = await core.token({ ...data, policies: ["default"] }, role ? "auth/token/create/r" : undefined);
    expect((await lookUp(core, token))["ttl"]).toBe(seconds);
    await core.clock.advance(seconds * 1_000 - 1_000);
    expect((await lookUp(core, token))["ttl"]).toBe(1);
    await core.clock.advance(1_000);
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
  });

  it("is moved by a renewal, never beyond the hard end", async () => {
    const core = await startCore();
    const token = await core.token({ policies: ["default"], ttl: "1h", explicit_max_ttl: "90m" });
    await core.clock.advance(50 * 60_000);
    const renewed = await core.send(token, "update", "auth/token/renew-self", { increment: "1h" });
    expect(renewed.auth["lease_duration"]).toBe(40 * 60);
    await core.clock.advance(40 * 60_000);
    await core.settle();
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
  });

  it("goes on for ever by its period", async () => {
    const core = await startCore();
    const token = await core.token({ policies: ["default"], period: "1h" });
    for (let i = 0; i < 2_000; i += 500) {
      await core.clock.advance(59 * 60_000);
      expect((await core.send(token, "update", "auth/token/renew-self")).auth["lease_duration"]).toBe(HOUR);
      await core.settle();
    }
  });

  it("cannot be renewed once it is over, or where that is not allowed", async () => {
    const core = await startCore();
    const fixed = await core.token({ policies: ["default"], renewable: false });
    expect((await core.send(fixed, "update", "auth/token/renew-self")).error).toBe("lease is not renewable");
    const short = await core.token({ policies: ["default"], ttl: "1m" });
    await core.clock.advance(60_000);
    expect((await core.send(short, "update", "auth/token/renew-self")).status).toBe(403);
    await core.settle();
    expect((await core.send(core.rootToken, "update", "auth/token/renew", { token: short })).status).toBe(400);
  });
});

describe("a token with a number of uses", () => {
  it("ends after the last one, refused requests counted", async () => {
    const core = await startCore();
    const token = await core.token({ policies: ["default"], num_uses: 3 });
    expect((await lookUp(core, token))["num_uses"]).toBe(2);
    expect((await core.send(token, "read", "sys/mounts")).status).toBe(403);
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(200);
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
    expect([...(await core.dump("core/token/id/"))]).toHaveLength(1);
  });

  it("answers exactly so many requests when all come at once", async () => {
    const core = await startCore();
    const token = await core.token({ policies: ["default"], num_uses: 4 });
    const replies = await Promise.all(
      Array.from({ length: 10 }, () => core.send(token, "read", "auth/token/lookup-self")),
    );
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(4);
  });

  it("makes no children", async () => {
    const core = await startCore();
    const token = await core.token({ num_uses: 3 });
    const refused = await core.send(token, "update", "auth/token/create");
    expect([refused.status, refused.error]).toEqual([400, "restricted use token cannot generate child tokens"]);
  });
});

describe("a batch token", () => {
  it("works without anything being stored, until its time is over", async () => {
    const core = await startCore();
    await core.root("read", "sys/mounts");
    const before = [...(await core.dump()).keys()];
    const token = await core.token({ type: "batch", policies: ["default"], ttl: "1h", no_parent: true });
    expect([...(await core.dump()).keys()]).toEqual(before);
    expect(await lookUp(core, token)).toMatchObject({ type: "batch", ttl: HOUR, orphan: true, accessor: "" });
    await core.clock.advance(HOUR * 1_000);
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
  });

  it("is refused with any character changed, cut or added", async () => {
    const core = await startCore();
    const token = await core.token({ type: "batch", policies: ["default"] });
    const change = fc.tuple(fc.nat({ max: token.length - 1 }), fc.constantFrom("A", "z", "_", "", "7x"));
    await fc.assert(
      fc.asyncProperty(change, async ([at, replacement]) => {
        const changed = token.slice(0, at) + replacement + token.slice(at + 1);
        // The last character of base64url may hold bits that mean nothing.
        fc.pre(!Buffer.from(changed.slice(4), "base64url").equals(Buffer.from(token.slice(4), "base64url")));
        expect((await core.send(changed, "read", "auth/token/lookup-self")).status).toBe(403);
      }),
      { numRuns: 60 },
    );
  });

  it("is nothing to another store", async () => {
    const [one, two] = [await startCore(), await startCore()];
    const token = await one.token({ type: "batch", policies: ["default"] });
    expect((await two.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
  });

  it.each(["revoked", "expired"])("ends with a parent that is %s", async (how) => {
    const core = await startCore();
    await core.policy("maker", 'path "auth/token/*" { capabilities = ["create", "update"] }');
    const parent = await core.token({ policies: ["maker"], ttl: "1h" });
    const made = await core.send(parent, "update", "auth/token/create", { type: "batch", ttl: "2h" });
    const token = textOf(made.auth, "client_token");
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(200);
    if (how === "revoked") await core.root("update", "auth/token/revoke", { token: parent });
    else await core.clock.advance(HOUR * 1_000);
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
  });

  it("has no cubbyhole, no children, no renewal, no revocation", async () => {
    const core = await startCore();
    await core.policy("all", 'path "*" { capabilities = ["create", "update", "read"] }');
    const token = await core.token({ type: "batch", policies: ["all"] });
    const refusals: [string, JsonObject][] = [
      ["cubbyhole/a", { a: 1 }],
      ["auth/token/create", {}],
      ["auth/token/renew-self", {}],
      ["auth/token/revoke-self", {}],
    ];
    for (const [path, data] of refusals) expect((await core.send(token, "update", path, data)).status).toBe(400);
  });

  it("cannot be root, and is refused when it would not fit a header", async () => {
    const core = await startCore();
    const root = await core.send(core.rootToken, "update", "auth/token/create", { type: "batch" });
    expect(root.error).toBe("batch tokens cannot be root tokens");
    const large = await core.send(core.rootToken, "update", "auth/token/create", {
      type: "batch",
      policies: ["default"],
      meta: { a: "x".repeat(4_000), b: "x".repeat(4_000), c: "x".repeat(2_000) },
    });
    expect([large.status, large.error]).toEqual([
      400,
      "the batch token would be longer than 8196 characters; give it less metadata or fewer policies",
    ]);
  });
});

describe("what is stored of a token", () => {
  it("is neither its text nor its accessor's owner's text, in any record", async () => {
    const core = await startCore();
    const service = await core.token({ policies: ["default"], meta: { a: "b" } });
    const custom = await core.token({ policies: ["default"], id: "chosen-by-a-person" });
    const raw: string[] = [];
    for (const [key, value] of await core.dump()) {
      const [entry] = await core.storage.get([key]);
      raw.push(key, value, Buffer.from(entry?.value ?? []).toString("latin1"));
    }
    for (const token of [service, custom, core.rootToken]) expect(raw.some((text) => text.includes(token))).toBe(false);
  });

  it("is found by its accessor until it ends", async () => {
    const core = await startCore();
    const token = await core.token({ policies: ["default"], ttl: "1h" });
    const accessor = textOf(await lookUp(core, token), "accessor");
    const shown = await core.root("update", "auth/token/lookup-accessor", { accessor });
    expect(shown.data).toMatchObject({ accessor, id: "", ttl: HOUR });
    await core.root("update", "auth/token/renew-accessor", { accessor, increment: "2h" });
    expect((await lookUp(core, token))["ttl"]).toBe(2 * HOUR);
    await core.root("update", "auth/token/revoke-accessor", { accessor });
    expect((await core.send(token, "read", "auth/token/lookup-self")).status).toBe(403);
    const gone = await core.send(core.rootToken, "update", "auth/token/lookup-accessor", { accessor });
    expect(gone.status).toBe(400);
  });

  it("is not replaced by another token of the same chosen text", async () => {
    const core = await startCore();
    await core.token({ policies: ["default"], id: "twice" });
    const again = await core.send(core.rootToken, "update", "auth/token/create", { policies: ["root"], id: "twice" });
    expect([again.status, again.error]).toEqual([400, "cannot create a token with a duplicate ID"]);
    expect(await lookUp(core, "twice")).toMatchObject({ policies: ["default"] });
  });
});
