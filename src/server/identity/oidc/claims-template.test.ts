import { describe, expect, it } from "vitest";
import type { Entity, Group } from "../identity-records.ts";
import { checkTemplate, decodeTemplate, renderTemplate, TEMPLATE_BYTES_MAX } from "./claims-template.ts";

const alias = { id: "a1", mountAccessor: "auth_userpass_1", mountPath: "auth/up/", mountType: "userpass", name: "ann" };
const entity: Entity = {
  ...{ id: "e1", name: 'An"n', disabled: false, policies: [], metadata: { team: "red", "a.b": "c" }, groupIds: [] },
  aliases: [{ ...alias, metadata: { m: "1" }, customMetadata: { c: "2" }, created: 0, updated: 0 }],
  ...{ mergedIds: [], created: 0, updated: 0, revision: 1 },
};
const group: Group = {
  ...{ id: "g1", name: "devs", type: "internal", policies: [], metadata: { floor: "4" }, memberGroupIds: [] },
  ...{ parentGroupIds: [], created: 0, updated: 0, revision: 1 },
};
const render = (variable: string) => renderTemplate(`{"v": {{${variable}}}}`, { entity, groups: [group] }, 1_000)["v"];

describe("a claims template", () => {
  it.each([
    ["identity.entity.id", "e1"],
    ["identity.entity.name", 'An"n'],
    ["identity.entity.metadata", { team: "red", "a.b": "c" }],
    ["identity.entity.metadata.team", "red"],
    ["identity.entity.metadata.a.b", "c"],
    ["identity.entity.metadata.none", ""],
    ["identity.entity.metadata.constructor", ""],
    ["identity.entity.groups.ids", ["g1"]],
    ["identity.entity.groups.names", ["devs"]],
    ["identity.entity.aliases.auth_userpass_1.id", "a1"],
    ["identity.entity.aliases.auth_userpass_1.name", "ann"],
    ["identity.entity.aliases.auth_userpass_1.metadata", { m: "1" }],
    ["identity.entity.aliases.auth_userpass_1.custom_metadata.c", "2"],
    ["identity.entity.aliases.other.name", ""],
    ["identity.entity.aliases.other.metadata", {}],
    ["identity.groups.names.devs.id", "g1"],
    ["identity.groups.ids.g1.metadata.floor", "4"],
    ["identity.groups.ids.g2.name", ""],
    [" time.now ", 1_000],
    ["time.now.plus.1h", 4_600],
    ["time.now.minus.10s", 990],
  ])("has %s", (variable, value) => {
    expect(render(variable)).toEqual(value);
  });

  it.each([
    ["{{identity.entity.shoe}}", "there is no variable"],
    ['{"a": {{time.now.plus.soon}}}', "there is no variable"],
    ["[1]", "no JSON object"],
    ['{"a": "{{identity.entity.name}}"}', "error parsing template JSON"],
    ['{"exp": 1}', 'top level key "exp" not allowed'],
    [" ".repeat(TEMPLATE_BYTES_MAX + 1), "template is longer than"],
  ])("is refused: %.40s", (template, message) => {
    expect(() => checkTemplate(template)).toThrow(message);
  });

  it("may come in base64", () => {
    expect(decodeTemplate(Buffer.from('{"a":1}').toString("base64"))).toBe('{"a":1}');
    expect(decodeTemplate('{"a":1}')).toBe('{"a":1}');
    expect(checkTemplate("")).toEqual([]);
    expect(checkTemplate(`{"a":1}${" ".repeat(TEMPLATE_BYTES_MAX - 7)}`)).toEqual(["a"]);
  });
});
