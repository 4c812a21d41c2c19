import { describe, expect, it } from "vitest";
import { type Core, startCore, textOf } from "#test/kit/core.ts";
import { REVOKE_BUDGET } from "./revoke-token.ts";

const CHILDREN = REVOKE_BUDGET + 120;

async function isAlive(core: Core, token: string): Promise<boolean> {
  return (await core.send(token, "read", "auth/token/lookup-self")).status === 200;
}

async function childOf(core: Core, parent: string, data = {}): Promise<string> {
  return textOf((await core.send(parent, "update", "auth/token/create", data)).auth, "client_token");
}

/** A token that may create others. */
async function parentToken(core: Core): Promise<string> {
  await core.policy("maker", 'path "auth/token/*" { capabilities = ["create", "update"] }');
  return core.token({ policies: ["maker"], no_parent: true });
}

async function family(core: Core, count: number): Promise<{ parent: string; children: readonly string[] }> {
  const parent = await parentToken(core);
  const children: string[] = [];
  for (let i = 0; i < count; i++) children.push(await childOf(core, parent));
  return { parent, children };
}

async function alive(core: Core, tokens: readonly string[]): Promise<number> {
  const states = await Promise.all(tokens.map((token) => isAlive(core, token)));
  return states.filter(Boolean).length;
}

/** What must be gone when a token is: its record, its indexes, its leases. */
async function leftovers(core: Core): Promise<readonly string[]> {
  const keys = [...(await core.dump("core/")).keys()];
  return keys.filter((key) => /^core\/(token\/(id|child)|token-dependents|token-lease|lease|expiry|job)\//.test(key));
}

describe("ending a token", () => {
  it("ends its children and theirs with it, and leaves nothing behind", async () => {
    const core = await startCore();
    const before = await leftovers(core);
    const { parent, children } = await family(core, 2);
    const grandchild = await childOf(core, children[0] ?? "");
    await core.send(grandchild, "update", "cubbyhole/a", { b: "c" });
    await core.root("update", "auth/token/revoke", { token: parent });
    expect(await alive(core, [parent, ...children, grandchild])).toBe(0);
    expect(await leftovers(core)).toEqual(before);
    expect([...(await core.dump("mount/")).keys()]).toEqual([]);
  });

  it("leaves orphans and the family of others alive", async () => {
    const core = await startCore();
    const { parent } = await family(core, 1);
    const orphan = await core.token({ no_parent: true });
    const other = await core.token();
    await core.root("update", "auth/token/revoke", { token: parent });
    expect(await alive(core, [orphan, other])).toBe(2);
  });

  it("ends a wide tree beyond one transaction's budget in the background, the token itself at once", async () => {
    const core = await startCore();
    const before = await leftovers(core);
    const { parent, children } = await family(core, CHILDREN);
    await core.root("update", "auth/token/revoke", { token: parent });
    expect(await isAlive(core, parent)).toBe(false);
    const atOnce = CHILDREN - (await alive(core, children));
    expect(atOnce).toBeGreaterThan(0);
    expect(atOnce).toBeLessThan(CHILDREN);
    await core.settle();
    expect(await alive(core, children)).toBe(0);
    expect(await leftovers(core)).toEqual(before);
  });

  it("ends a deep chain beyond the budget", async () => {
    const core = await startCore();
    const before = await leftovers(core);
    const top = await parentToken(core);
    const chain = [top];
    for (let depth = 0; depth < CHILDREN; depth++) chain.push(await childOf(core, chain.at(-1) ?? ""));
    await core.root("update", "auth/token/revoke", { token: top });
    expect(await isAlive(core, top)).toBe(false);
    await core.settle();
    expect(await alive(core, chain)).toBe(0);
    expect(await leftovers(core)).toEqual(before);
  });

  it("misses no child that is created at the same time", async () => {
    const core = await startCore();
    const { parent } = await family(core, 1);
    const creations = Array.from({ length: 8 }, () => core.send(parent, "update", "auth/token/create"));
    const [, ...made] = await Promise.all([core.root("update", "auth/token/revoke", { token: parent }), ...creations]);
    await core.settle();
    const born = made.filter(({ status }) => status === 200).map(({ auth }) => textOf(auth, "client_token"));
    expect(await alive(core, born)).toBe(0);
  });

  it("empties a cubbyhole beyond the budget", async () => {
    const core = await startCore();
    const token = await core.token();
    for (let i = 0; i < CHILDREN; i++) await core.send(token, "update", `cubbyhole/${i}`, { v: i });
    await core.send(token, "update", "auth/token/revoke-self");
    await core.settle();
    expect([...(await core.dump("mount/")).keys()]).toEqual([]);
  });
});

describe("ending a token but not its children", () => {
  it.each([3, CHILDREN])("makes orphans of all %i of them", async (count) => {
    const core = await startCore();
    const { parent, children } = await family(core, count);
    await core.root("update", "auth/token/revoke-orphan", { token: parent });
    await core.settle();
    expect(await isAlive(core, parent)).toBe(false);
    expect(await alive(core, children)).toBe(count);
    const shown = await core.root("update", "auth/token/lookup", { token: children.at(-1) ?? "" });
    expect(shown.data["orphan"]).toBe(true);
  });
});

describe("time", () => {
  it("ends a token at its expiry, its children with the next sweep", async () => {
    const core = await startCore();
    const parent = await parentToken(core);
    const short = await childOf(core, parent, { ttl: "60s", policies: ["maker"] });
    const grandchild = await childOf(core, short, { ttl: "1h" });
    await core.clock.advance(59_000);
    await core.settle();
    expect(await alive(core, [short, grandchild])).toBe(2);
    await core.clock.advance(1_000);
    expect(await isAlive(core, short)).toBe(false);
    await core.settle();
    expect(await alive(core, [parent, grandchild])).toBe(1);
  });
});
