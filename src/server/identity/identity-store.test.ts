import { beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { deleteEntity, entityByAlias, entityByName, newEntity, putEntity, readEntity } from "./entities.ts";
import {
  deleteGroup,
  groupsOf,
  memberIds,
  newGroup,
  putGroup,
  readGroup,
  setMembers,
  withMemberGroups,
} from "./groups.ts";
import type { LoginAlias } from "./identity.ts";
import type { Entity, Group } from "./identity-records.ts";
import { IdentityStore } from "./identity-store.ts";

let barrier: Barrier;
let clock: FakeClock;
let store: IdentityStore;
let reads: number;

beforeEach(async () => {
  clock = new FakeClock();
  const memory = openMemoryStorage();
  const storage = {
    ...{ list: memory.list.bind(memory), scan: memory.scan.bind(memory), commit: memory.commit.bind(memory) },
    ...{ watch: memory.watch.bind(memory), close: memory.close.bind(memory) },
    snapshot: memory.snapshot.bind(memory),
    get: (keys: readonly string[]) => {
      reads++;
      return memory.get(keys);
    },
  };
  barrier = new Barrier({ storage, clock, log: silentLog });
  using rootKey = SecretBytes.random(32);
  await barrier.initialize({ rootKey, plain: [] });
  await barrier.unseal(rootKey);
  store = new IdentityStore(clock);
  reads = 0;
});

async function commit<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
  const tx = barrier.begin();
  const result = await work(tx);
  expect(await tx.commit()).toBe("committed");
  return result;
}

function login(name: string, more: Partial<LoginAlias> = {}): LoginAlias {
  return {
    ...{ mountAccessor: "auth_jwt_1", mountPath: "auth/jwt/", mountType: "jwt", name, metadata: {} },
    ...more,
  };
}
const logIn = (name: string, more: Partial<LoginAlias> = {}) =>
  commit((tx) => store.entityForLogin(tx, login(name, more)));
const view = (id: string) => commit((tx) => store.view(tx, id));

async function must<T>(found: Promise<T | undefined>): Promise<T> {
  const value = await found;
  if (value === undefined) throw new Error("nothing there");
  return value;
}

function makeGroup(name: string, more: Partial<Group> = {}): Promise<Group> {
  return commit(async (tx) => {
    const group = await newGroup(tx, clock.now(), { name, type: more.type ?? "internal" });
    return putGroup(tx, undefined, { ...group, ...more });
  });
}

function change(id: string, more: Partial<Entity>): Promise<Entity> {
  return commit(async (tx) => {
    const entity = await must(readEntity(tx, id));
    return putEntity(tx, entity, { ...entity, ...more });
  });
}

describe("entities of logins", () => {
  it("are made at the first login and found at every other", async () => {
    const id = await logIn("ann");
    expect(await logIn("ann")).toBe(id);
    expect(await logIn("bob")).not.toBe(id);
    const entity = await commit((tx) => must(readEntity(tx, id)));
    expect(entity.name).toMatch(/^entity_[0-9a-f]{8}$/);
    expect(entity.aliases).toMatchObject([{ mountAccessor: "auth_jwt_1", name: "ann" }]);
  });

  it("tell names apart by case and by mount", async () => {
    const ids = [await logIn("ann"), await logIn("Ann"), await logIn("ann", { mountAccessor: "auth_jwt_2" })];
    expect(new Set(ids).size).toBe(3);
  });

  it("are one when two first logins meet: one of them must run again", async () => {
    const [one, two] = [barrier.begin(), barrier.begin()];
    await store.entityForLogin(one, login("ann"));
    await store.entityForLogin(two, login("ann"));
    expect([await one.commit(), await two.commit()]).toEqual(["committed", "conflict"]);
  });

  it("keep the metadata of the latest login, and write nothing when nothing changed", async () => {
    const id = await logIn("ann", { metadata: { username: "ann", team: "red" } });
    expect((await view(id))?.resolve("identity.entity.aliases.auth_jwt_1.metadata.team")).toBe("red");
    expect((await view(id))?.resolve("identity.entity.aliases.auth_jwt_1.metadata.username")).toBeUndefined();
    const tx = barrier.begin();
    await store.entityForLogin(tx, login("ann", { metadata: { username: "ann", team: "red" } }));
    expect(tx.dirty).toBe(false);
    await logIn("ann", { metadata: { team: "blue" } });
    expect((await view(id))?.resolve("identity.entity.aliases.auth_jwt_1.metadata.team")).toBe("blue");
  });

  it("refuse a login when they are disabled", async () => {
    const id = await logIn("ann");
    await change(id, { disabled: true });
    await expect(store.entityForLogin(barrier.begin(), login("ann"))).rejects.toMatchObject({
      code: "permission_denied",
    });
    expect((await view(id))?.disabled).toBe(true);
  });

  it("join and leave the external groups of their mount as the auth method says", async () => {
    const alias = { id: "a1", mountAccessor: "auth_jwt_1", mountPath: "auth/jwt/", mountType: "jwt", name: "devs" };
    await makeGroup("devs", { type: "external", policies: ["dev"], alias: { ...alias, created: 0, updated: 0 } });
    const internal = await makeGroup("ops", { policies: ["op"] });
    const id = await logIn("ann", { groupNames: ["devs", "unknown"] });
    await commit((tx) => setMembers(tx, internal.id, [id]));
    expect((await view(id))?.policies).toEqual(["dev", "op"]);
    await logIn("ann");
    expect((await view(id))?.policies).toEqual(["dev", "op"]);
    await logIn("ann", { groupNames: [] });
    expect((await view(id))?.policies).toEqual(["op"]);
  });
});

describe("index keys", () => {
  it("make names unique whatever their case, and free the old one", async () => {
    const [ann, bob] = [await logIn("ann"), await logIn("bob")];
    await change(ann, { name: "Ann" });
    await expect(change(bob, { name: "aNN" })).rejects.toMatchObject({ message: "entity name is already in use" });
    await change(ann, { name: "other" });
    await change(bob, { name: "aNN" });
    expect((await commit((tx) => entityByName(tx, "ANN")))?.id).toBe(bob);
  });

  it("go with their entity", async () => {
    const id = await logIn("ann");
    const group = await makeGroup("g", { policies: ["p"] });
    await commit((tx) => setMembers(tx, group.id, [id]));
    await commit(async (tx) => deleteEntity(tx, await must(readEntity(tx, id))));
    expect(await commit((tx) => entityByAlias(tx, "auth_jwt_1", "ann"))).toBeUndefined();
    expect(await commit((tx) => memberIds(tx, group.id))).toEqual([]);
    expect(await view(id)).toMatchObject({ disabled: true, policies: [] });
    expect(await logIn("ann")).not.toBe(id);
  });
});

describe("groups", () => {
  it("give the policies of all groups above, each once, whatever the order", async () => {
    const id = await logIn("ann");
    await change(id, { policies: ["own"] });
    const [low, mid, top] = [
      await makeGroup("low", { policies: ["b", "own"] }),
      await makeGroup("mid"),
      await makeGroup("top", { policies: ["a"] }),
    ];
    await nest(mid.id, [low.id]);
    await nest(top.id, [mid.id, low.id]);
    await commit((tx) => setMembers(tx, low.id, [id]));
    expect((await view(id))?.policies).toEqual(["a", "b", "own"]);
    const membership = await commit(async (tx) => groupsOf(tx, await must(readEntity(tx, id))));
    expect(membership.direct.map((group) => group.name)).toEqual(["low"]);
    expect(membership.inherited.map((group) => group.name).toSorted()).toEqual(["mid", "top"]);
    await commit(async (tx) => deleteGroup(tx, await must(readGroup(tx, mid.id))));
    await nest(top.id, []);
    expect((await view(id))?.policies).toEqual(["b", "own"]);
  });

  it("cannot contain themselves", async () => {
    const [a, b, c] = [await makeGroup("a"), await makeGroup("b"), await makeGroup("c")];
    await nest(a.id, [b.id]);
    await nest(b.id, [c.id]);
    await expect(nest(c.id, [a.id])).rejects.toMatchObject({ code: "invalid_request" });
    await expect(nest(a.id, [a.id])).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("change the view's version when they change", async () => {
    const id = await logIn("ann");
    const group = await makeGroup("g");
    await commit((tx) => setMembers(tx, group.id, [id]));
    const before = (await view(id))?.version;
    expect((await view(id))?.version).toBe(before);
    await commit(async (tx) => {
      const current = await must(readGroup(tx, group.id));
      await putGroup(tx, current, { ...current, policies: ["p"] });
    });
    expect((await view(id))?.version).not.toBe(before);
  });

  function nest(parentId: string, children: readonly string[]) {
    return commit(async (tx) => {
      const parent = await must(readGroup(tx, parentId));
      await putGroup(tx, parent, await withMemberGroups(tx, parent, children));
    });
  }
});

describe("cost of a view", () => {
  it("is one read, or two with groups", async () => {
    const id = await logIn("ann");
    reads = 0;
    await view(id);
    expect(reads).toBe(1);
    const groups = [await makeGroup("one"), await makeGroup("two")];
    for (const group of groups) await commit((tx) => setMembers(tx, group.id, [id]));
    reads = 0;
    await view(id);
    expect(reads).toBe(2);
  });

  it("is nothing for no entity", async () => {
    expect(await view("")).toBeUndefined();
  });

  it("gives names that are free", async () => {
    const [one, two] = await commit(async (tx) => [await newEntity(tx, 0), await newEntity(tx, 0)] as const);
    expect(one.name).not.toBe(two.name);
  });
});
