import { describe, expect, it } from "vitest";
import { entityView } from "./entity-view.ts";
import type { Entity, Group } from "./identity-records.ts";

const times = { created: 0, updated: 0 };
const entity: Entity = {
  ...{ id: "e1", name: "ann", disabled: false, policies: ["p"], metadata: { team: "red", "a.b": "dots" } },
  aliases: [
    {
      ...{ id: "a1", mountAccessor: "auth_kubernetes_1", mountPath: "auth/k/", mountType: "kubernetes", name: "uid-1" },
      ...{ metadata: { service_account_namespace: "web" }, customMetadata: { k: "v" }, ...times },
    },
  ],
  ...{ groupIds: ["g1", "g2"], mergedIds: [], revision: 3, ...times },
};
const group = (id: string, name: string): Group => ({
  ...{ id, name, type: "internal", policies: [`of-${id}`], metadata: { m: `of ${name}` }, memberGroupIds: [] },
  ...{ parentGroupIds: [], revision: 1, ...times },
});
const view = entityView(entity, [group("g1", "ops"), group("g2", "ops.id")]);

describe("template variables", () => {
  it.each([
    ["identity.entity.id", "e1"],
    ["identity.entity.name", "ann"],
    ["identity.entity.metadata.team", "red"],
    ["identity.entity.metadata.a.b", "dots"],
    ["identity.entity.aliases.auth_kubernetes_1.id", "a1"],
    ["identity.entity.aliases.auth_kubernetes_1.name", "uid-1"],
    ["identity.entity.aliases.auth_kubernetes_1.metadata.service_account_namespace", "web"],
    ["identity.entity.aliases.auth_kubernetes_1.custom_metadata.k", "v"],
    ["identity.groups.ids.g1.name", "ops"],
    ["identity.groups.ids.g2.metadata.m", "of ops.id"],
    ["identity.groups.names.ops.id", "g1"],
    ["identity.groups.names.ops.id.id", "g2"],
    ["identity.groups.names.ops.metadata.m", "of ops"],
  ])("%s", (variable, value) => {
    expect(view.resolve(variable)).toBe(value);
  });

  it.each([
    "identity.entity.metadata.none",
    "identity.entity.metadata.toString",
    "identity.entity.metadata.__proto__",
    "identity.entity.aliases.auth_kubernetes_2.name",
    "identity.entity.aliases.auth_kubernetes_1.mount",
    "identity.groups.ids.g3.name",
    "identity.groups.names.none.id",
    "identity.entity.policies",
    "token.metadata.x",
  ])("%s has no value", (variable) => {
    expect(view.resolve(variable)).toBeUndefined();
  });
});

it("adds the policies of all groups", () => {
  expect(view.policies).toEqual(["of-g1", "of-g2", "p"]);
  expect(entityView(entity, []).policies).toEqual(["p"]);
});
