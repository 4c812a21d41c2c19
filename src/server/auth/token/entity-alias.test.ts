import { describe, expect, it } from "vitest";
import { type Core, startCore, textOf } from "#test/kit/core.ts";

async function startWithRole(): Promise<Core> {
  const core = await startCore();
  await core.root("update", "auth/token/roles/r", { allowed_entity_aliases: "Alice,ci-*" });
  return core;
}

function create(core: Core, alias: string, path = "auth/token/create/r") {
  return core.send(core.rootToken, "update", path, { policies: ["default"], entity_alias: alias });
}

describe("a token for an entity alias", () => {
  it("gets the alias's entity, which is made the first time", async () => {
    const core = await startWithRole();
    const first = await create(core, "alice");
    const second = await create(core, "alice");
    const id = textOf(first.auth, "entity_id");
    expect(id).not.toBe("");
    expect(second.auth["entity_id"]).toBe(id);
    const entity = await core.root("read", `identity/entity/id/${id}`);
    expect(entity.data["aliases"]).toMatchObject([{ name: "alice", mount_type: "token", mount_path: "auth/token/" }]);
  });

  it("has the policies of the entity in effect", async () => {
    const core = await startWithRole();
    const made = await create(core, "ci-7");
    await core.policy("p", 'path "cubbyhole/never" { capabilities = ["read"] }');
    await core.root("update", `identity/entity/id/${textOf(made.auth, "entity_id")}`, { policies: ["p"] });
    const seen = await core.send(textOf(made.auth, "client_token"), "read", "auth/token/lookup-self");
    expect(seen.data["identity_policies"]).toEqual(["p"]);
  });

  it("has the entity of an alias that was there before", async () => {
    const core = await startWithRole();
    const entity = textOf((await core.root("update", "identity/entity", { name: "bot" })).data, "id");
    const accessor = textOf(Object((await core.root("read", "sys/auth")).data["token/"]), "accessor");
    await core.root("update", "identity/entity-alias", {
      ...{ name: "ci-1", canonical_id: entity, mount_accessor: accessor },
    });
    expect((await create(core, "ci-1")).auth["entity_id"]).toBe(entity);
  });

  it("is refused when the role does not allow it, and without a role", async () => {
    const core = await startWithRole();
    expect(await create(core, "bob")).toMatchObject({ status: 400, error: "invalid 'entity_alias' value" });
    expect(await create(core, "alice", "auth/token/create")).toMatchObject({
      status: 400,
      error: "'entity_alias' is only allowed in combination with token role",
    });
    await core.root("update", "auth/token/roles/bare", {});
    expect((await create(core, "alice", "auth/token/create/bare")).status).toBe(400);
    expect((await core.send(core.rootToken, "list", "identity/entity/id")).status).toBe(404);
  });

  it("is refused for an entity that is disabled", async () => {
    const core = await startWithRole();
    const id = textOf((await create(core, "alice")).auth, "entity_id");
    await core.root("update", `identity/entity/id/${id}`, { disabled: true });
    expect((await create(core, "alice")).status).toBe(403);
  });
});
