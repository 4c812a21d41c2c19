import { describe, expect, it } from "vitest";
import { CofferError } from "#common/errors.ts";
import { compileAcl } from "./acl.ts";
import { boundAcl } from "./bounded-acl.ts";
import { parsePolicy } from "./parse-policy.ts";

const FACTOR = 'factor "managers" { identity { group_names = ["managers"] } }';
const under = (inside: string) => `path "x" { capabilities = ["read"] control_group { ${inside} } }`;
const controlIn = (text: string) => parsePolicy("p", text).rules[0]?.controlGroup;

describe("a control group in a policy", () => {
  const whole = {
    ttlSeconds: 14_400,
    factors: [
      {
        name: "managers",
        groupNames: ["managers", "leads"],
        groupIds: ["g-1"],
        approvals: 2,
        capabilities: ["read", "update"],
        selfAuthorization: true,
      },
    ],
  };

  it.each([
    [
      "a block",
      under(`ttl = "4h" self_authorization = true factor "managers" {
        identity { group_names = ["managers", "leads"] group_ids = ["g-1"] approvals = 2 }
        controlled_capabilities = ["read", "update"] }`),
    ],
    [
      "a value",
      `path "x" { capabilities = ["read"] control_group = { ttl = 14400 self_authorization = true
        factor "managers" { identity = { group_names = ["managers", "leads"] group_ids = ["g-1"] approvals = 2 }
        controlled_capabilities = ["read", "update"] } } }`,
    ],
    [
      "JSON",
      JSON.stringify({
        path: {
          x: {
            capabilities: ["read"],
            control_group: {
              ttl: "4h",
              self_authorization: true,
              factor: {
                managers: {
                  identity: { group_names: ["managers", "leads"], group_ids: ["g-1"], approvals: 2 },
                  controlled_capabilities: ["read", "update"],
                },
              },
            },
          },
        },
      }),
    ],
  ])("is read from %s", (_form, text) => {
    expect(controlIn(text)).toEqual(whole);
  });

  it("has one approval for everything unless it says otherwise", () => {
    expect(controlIn(under(FACTOR))).toEqual({
      ttlSeconds: 0,
      factors: [
        {
          ...{ name: "managers", groupNames: ["managers"], groupIds: [], approvals: 1, capabilities: [] },
          selfAuthorization: false,
        },
      ],
    });
  });

  const at = 'path "x": control_group: ';
  const where = `${at}factor "f": `;
  it.each([
    [under(""), `${at}at least one factor must be given`],
    [under('ttl = "soon"'), `${at}at least one factor must be given`],
    [under(`ttl = "soon" ${FACTOR}`), 'error parsing ttl: time: invalid duration "soon"'],
    [under(`self_authorization = "yes" ${FACTOR}`), `${at}self_authorization must be true or false`],
    [under('factor "f" {}'), `${where}exactly one identity block must be given`],
    [under('factor "f" { identity {} }'), `${where}group_names or group_ids must be given`],
    [under('factor "f" { identity { group_ids = [1] } }'), 'path "x": group_ids must be a list of strings'],
    [
      under('factor "f" { identity { group_ids = ["a"] approvals = 0 } }'),
      `${where}approvals must be a whole number from 1 to 100`,
    ],
    [
      under('factor "f" { identity { group_ids = ["a"] approvals = 101 } }'),
      `${where}approvals must be a whole number from 1 to 100`,
    ],
    [
      under('factor "f" { identity { group_ids = ["a"] } controlled_capabilities = ["fly"] }'),
      `${where}invalid capability "fly"`,
    ],
    [under(FACTOR.repeat(21)), `${at}more than 20 factors`],
    [
      `path "x" { control_group { ${FACTOR} } control_group { ${FACTOR} } }`,
      `${at}there can be one; put its factors together`,
    ],
  ])("is refused in %j", (text, message) => {
    expect(() => parsePolicy("p", text)).toThrow(
      new CofferError("invalid_request", `failed to parse policy: ${message}`),
    );
  });

  it("of several policies about a path is all of them, for as short as the shortest", () => {
    const one = parsePolicy("one", under(`ttl = "4h" ${FACTOR}`));
    const two = parsePolicy("two", under('ttl = "2h" factor "legal" { identity { group_names = ["legal"] } }'));
    const free = parsePolicy("free", 'path "x" { capabilities = ["read"] }');
    const { controlGroup } = compileAcl([one, two, one, free]).check({ operation: "read", path: "x" });
    expect(controlGroup?.ttlSeconds).toBe(7_200);
    expect(controlGroup?.factors.map(({ name }) => name)).toEqual(["managers", "legal"]);
  });

  it("is only for the capabilities that it names, and never for help", () => {
    const acl = compileAcl([
      parsePolicy(
        "p",
        `path "x" { capabilities = ["read", "delete"] control_group { factor "f" {
          identity { group_names = ["g"] } controlled_capabilities = ["delete"] } } }`,
      ),
    ]);
    expect(acl.check({ operation: "read", path: "x" }).controlGroup).toBe(undefined);
    expect(acl.check({ operation: "help", path: "x" }).controlGroup).toBe(undefined);
    expect(acl.check({ operation: "delete", path: "x" }).controlGroup?.factors).toHaveLength(1);
  });

  it("of a boundary counts as one of the policies", () => {
    const free = compileAcl([parsePolicy("free", 'path "x" { capabilities = ["read"] }')]);
    const boundary = compileAcl([parsePolicy("boundary", under(FACTOR))]);
    expect(boundAcl(free, boundary).check({ operation: "read", path: "x" }).controlGroup?.factors).toHaveLength(1);
  });
});

describe("the capability subscribe", () => {
  it("is for the types of events that its rule names, or all", () => {
    const acl = compileAcl([
      parsePolicy("one", 'path "a/*" { capabilities = ["subscribe"] subscribe_event_types = ["kv-v2/data-*"] }'),
      parsePolicy("two", 'path "b" { capabilities = ["read", "subscribe"] } path "c" { capabilities = ["read"] }'),
      parsePolicy("three", 'path "a/*" { capabilities = ["read"] subscribe_event_types = ["*"] }'),
    ]);
    expect(acl.subscribes("a/x", "kv-v2/data-write")).toBe(true);
    expect(acl.subscribes("a/x", "kv-v2/destroy")).toBe(false);
    expect(acl.subscribes("b", "anything")).toBe(true);
    expect(acl.subscribes("c", "anything")).toBe(false);
    expect(acl.capabilities("b")).toEqual(["read", "subscribe"]);
  });
});
