import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Operation } from "../framework/context.ts";
import { compileAcl, rootAcl } from "./acl.ts";
import { boundAcl } from "./bounded-acl.ts";
import { parsePolicy } from "./parse-policy.ts";

const aclOf = (text: string) => compileAcl([parsePolicy("p", text)]);

describe("boundAcl", () => {
  const own = aclOf(
    'path "secret/*" { capabilities = ["read","list","update","sudo"] }\npath "sys/mounts" { capabilities = ["read"] }',
  );
  const boundary = aclOf(
    'path "secret/team/*" { capabilities = ["read","delete"] }\npath "secret/team/hidden" { capabilities = ["deny"] }',
  );
  const bounded = boundAcl(own, boundary);

  it.each<[Operation, string, boolean]>([
    ["read", "secret/team/a", true],
    ["update", "secret/team/a", false],
    ["delete", "secret/team/a", false],
    ["read", "secret/other", false],
    ["read", "secret/team/hidden", false],
    ["read", "sys/mounts", false],
  ])("%s %s: %s", (operation, path, allowed) => {
    expect(bounded.check({ operation, path }).allowed).toBe(allowed);
  });

  it("takes the common capabilities, and no sudo that the boundary has not", () => {
    expect(bounded.capabilities("secret/team/a")).toEqual(["read"]);
    expect(bounded.capabilities("secret/other")).toEqual(["deny"]);
    expect(bounded.check({ operation: "read", path: "secret/team/a" })).toMatchObject({
      sudo: false,
      grantingPolicies: ["p"],
    });
    expect(bounded.check({ operation: "update", path: "secret/team/a" })).toMatchObject({
      refusal: "boundary",
      grantingPolicies: [],
    });
  });

  it("holds root down to the boundary", () => {
    const root = boundAcl(rootAcl, boundary);
    expect(root.isRoot).toBe(false);
    expect(root.check({ operation: "read", path: "secret/team/a" })).toMatchObject({
      allowed: true,
      isRoot: false,
      sudo: false,
    });
    expect(root.check({ operation: "read", path: "sys/mounts" }).allowed).toBe(false);
    expect(root.capabilities("secret/team/a")).toEqual(["delete", "read"]);
    expect(boundAcl(rootAcl, rootAcl).isRoot).toBe(true);
  });

  it("shows the intersection", () => {
    expect(bounded.resultant()).toEqual({
      root: false,
      exact_paths: {},
      glob_paths: { "secret/team/": { capabilities: ["read"] } },
    });
    expect(bounded.grantsBelow("secret/")).toBe(true);
    expect(bounded.grantsBelow("sys/")).toBe(false);
  });

  it("allows exactly what both allow", () => {
    const word = fc.constantFrom("read", "update", "list", "deny", "sudo");
    const rule = fc.tuple(fc.constantFrom("a", "a/*", "*", "a/+", "+/b", "a/b"), fc.uniqueArray(word));
    const acls = fc
      .array(rule)
      .map((rules) =>
        aclOf(rules.map(([path, words]) => `path "${path}" { capabilities = ${JSON.stringify(words)} }`).join("\n")),
      );
    const operations = fc.constantFrom<Operation[]>("read", "update", "list");
    fc.assert(
      fc.property(acls, acls, operations, fc.constantFrom("a", "a/b", "c/b", "a/b/c"), (one, two, operation, path) => {
        const wanted = one.check({ operation, path }).allowed && two.check({ operation, path }).allowed;
        expect(boundAcl(one, two).check({ operation, path }).allowed).toBe(wanted);
      }),
    );
  });
});
