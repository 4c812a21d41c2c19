import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import type { Operation } from "../framework/context.ts";
import { type Acl, compileAcl, rootAcl } from "./acl.ts";
import { parsePolicy } from "./parse-policy.ts";
import { comparePriority, isPattern } from "./rule-index.ts";

const aclOf = (...texts: readonly string[]): Acl => compileAcl(texts.map((text, i) => parsePolicy(`p${i}`, text)));
const may = (acl: Acl, operation: Operation, path: string, data: JsonObject = {}) =>
  acl.check({ operation, path, data }).allowed;

describe("which rule decides", () => {
  const a = `
path "kv/app/*" { capabilities = ["read","list"] }
path "kv/app/two" { capabilities = ["deny"] }
path "kv/app/new*" { capabilities = ["create"] }
path "kv/app/sub/+" { capabilities = ["delete"] }
path "kv/deep/+/b/+" { capabilities = ["read"] }
path "kv/deep/+/b/*" { capabilities = ["update"] }
path "kv/only" { capabilities = ["update"] }
path "kv/folder" { capabilities = ["list"] }
path "kv/slash/" { capabilities = ["list"] }
`;
  const b = 'path "kv/app/one" { capabilities = ["update"] }\npath "kv/app/two" { capabilities = ["read","update"] }';
  const alone = aclOf(a);
  const together = aclOf(a, b);

  it.each<[string, Acl, Operation, string, boolean]>([
    ["a glob allows", alone, "read", "kv/app/one", true],
    ["an exact deny beats the glob", alone, "read", "kv/app/two", false],
    ["deny beats a grant of another policy", together, "read", "kv/app/two", false],
    ["an exact rule of another policy replaces the glob", together, "read", "kv/app/one", false],
    ["and grants what it says", together, "update", "kv/app/one", true],
    ["a segment wildcard is more exact than the shorter glob", alone, "read", "kv/app/sub/three", false],
    ["delete by segment wildcard", alone, "delete", "kv/app/sub/three", true],
    ["a segment wildcard is one segment", alone, "read", "kv/app/sub/three/four", true],
    ["longer glob: create", alone, "create", "kv/app/new1", true],
    ["create is not update", alone, "update", "kv/app/new1", false],
    ["the longer glob replaces the shorter one", alone, "read", "kv/app/new1", false],
    ["update is not create", alone, "create", "kv/only", false],
    ["of two segment wildcards the one without a glob decides", alone, "read", "kv/deep/a/b/c", true],
    ["the other does not", alone, "update", "kv/deep/a/b/c", false],
    ["but it does further down", alone, "update", "kv/deep/a/b/c/d", true],
    ["list inside a glob", alone, "list", "kv/app", true],
    ["list with a trailing slash", alone, "list", "kv/app/", true],
    ["list above", alone, "list", "kv/", false],
    ["list of a folder whose rule has no slash", alone, "list", "kv/folder/", true],
    ["list of a folder whose rule has one", alone, "list", "kv/slash", true],
    ["a rule with a slash is for the folder only", alone, "read", "kv/slash", false],
    ["outside any rule", alone, "read", "kv/none", false],
    ["below an exact rule", alone, "update", "kv/only/below", false],
    ["help for who may read", alone, "help", "kv/app/x", true],
    ["no help otherwise", alone, "help", "kv/only", false],
  ])("%s", (_name, acl, operation, path, allowed) => {
    expect(may(acl, operation, path)).toBe(allowed);
  });

  it("tells which policies grant, and which rule decided", () => {
    const acl = aclOf(
      'path "a" { capabilities = ["read"] }',
      'path "a" { capabilities = ["read", "sudo"] }',
      'path "b" {}',
    );
    expect(acl.check({ operation: "read", path: "a" })).toMatchObject({
      allowed: true,
      sudo: true,
      isRoot: false,
      capabilities: ["read", "sudo"],
      grantingPolicies: ["p0", "p1"],
      rule: "a",
    });
    expect(acl.check({ operation: "delete", path: "a" })).toMatchObject({ allowed: false, refusal: "capability" });
    expect(acl.check({ operation: "read", path: "b" })).toMatchObject({ allowed: false, capabilities: ["deny"] });
    expect(acl.check({ operation: "read", path: "c" })).toMatchObject({ allowed: false, refusal: "no-rule" });
  });

  it("orders patterns as documented", () => {
    const losing = ["*", "a*", "a/+/c/*", "a/+/+", "a/+/c", "a/b*", "a/b/*", "a/b/c*"];
    const shuffled = [...losing].reverse();
    expect(shuffled.sort(comparePriority)).toEqual(["*", "a*", "a/+/c/*", "a/+/+", "a/+/c", "a/b*", "a/b/*", "a/b/c*"]);
  });

  it("agrees with a search through all rules", () => {
    const segment = fc.constantFrom("a", "b", "ab", "+", "");
    const patterns = fc
      .tuple(fc.array(segment, { minLength: 1, maxLength: 4 }), fc.boolean())
      .map(([segments, star]) => segments.join("/") + (star && segments.at(-1) !== "+" ? "*" : ""));
    const paths = fc
      .array(fc.constantFrom("a", "b", "ab", "abc", ""), { minLength: 1, maxLength: 5 })
      .map((all) => all.join("/"));
    fc.assert(
      fc.property(fc.uniqueArray(patterns, { maxLength: 12 }), paths, (all, path) => {
        const acl = aclOf(all.map((pattern) => `path "${pattern}" { capabilities = ["read"] }`).join("\n"));
        const stripped = all.map((pattern) => pattern.replace(/^\//, ""));
        const matching = stripped.filter((pattern) => isPattern(pattern) && toRegExp(pattern).test(path));
        const exactly = (text: string) => stripped.find((pattern) => pattern === text && !isPattern(pattern));
        // A rule about "a" holds for "a/", too, unless there is one for that.
        const exact = exactly(path) ?? (path.endsWith("/") ? exactly(path.slice(0, -1)) : undefined);
        expect(acl.check({ operation: "read", path }).rule).toBe(exact ?? matching.sort(comparePriority).at(-1));
      }),
      { numRuns: 2000 },
    );
  });
});

function toRegExp(pattern: string): RegExp {
  const open = pattern.endsWith("*");
  const body = (open ? pattern.slice(0, -1) : pattern)
    .split("/")
    .map((segment) => (segment === "+" ? "[^/]*" : segment));
  return new RegExp(`^${body.join("/")}${open ? ".*" : ""}$`);
}

describe("parameters", () => {
  const acl = aclOf(`
path "allow" { capabilities = ["create","update"] allowed_parameters = { "color" = ["red","blue"] "size" = [] } }
path "allowany" { capabilities = ["create","update"] allowed_parameters = { "color" = ["red"] "*" = [] } }
path "deny" { capabilities = ["create","update"] denied_parameters = { "secret" = [] "level" = ["high","top*"] } }
path "denyall" { capabilities = ["create","update"] denied_parameters = { "*" = [] } }
path "req" { capabilities = ["create","update"] required_parameters = ["owner","team"] }
path "both" { capabilities = ["create","update"] allowed_parameters = { "*" = [] } denied_parameters = { "bad" = [] } }
path "num" { capabilities = ["create","update"] allowed_parameters = { "b" = [true] "g" = ["pre-*","*-post"] "n" = [10] "m" = ["*mid*"] } }
path "upd" { capabilities = ["read","delete"] allowed_parameters = { "x" = [] } required_parameters = ["x"] }
`);

  it.each<[string, JsonObject, boolean]>([
    ["allow", { color: "red" }, true],
    ["allow", { color: "green" }, false],
    ["allow", { size: "huge" }, true],
    ["allow", { size: "s", weight: "1" }, false],
    ["allow", { Color: "blue" }, true],
    ["allow", { constructor: "x" }, false],
    ["allow", {}, true],
    ["allowany", { color: "red", other: "x" }, true],
    ["allowany", { color: "green" }, false],
    ["deny", { secret: "x" }, false],
    ["deny", { SECRET: "x" }, false],
    ["deny", { level: "high" }, false],
    ["deny", { level: "top-1" }, false],
    ["deny", { level: "low", more: "y" }, true],
    ["denyall", { a: "b" }, false],
    ["denyall", {}, true],
    ["req", { owner: "o", team: "t", x: "y" }, true],
    ["req", { owner: "o" }, false],
    ["req", {}, false],
    ["both", { bad: "1" }, false],
    ["both", { good: "1" }, true],
    ["num", { b: true }, true],
    ["num", { b: false }, false],
    ["num", { g: "my-post" }, true],
    ["num", { g: "pre-x" }, true],
    ["num", { g: "mine" }, false],
    ["num", { n: 10 }, true],
    ["num", { n: "10" }, true],
    ["num", { n: 100 }, false],
    ["num", { m: "amidst" }, true],
  ])("%s with %j: %s", (path, data, allowed) => {
    expect(may(acl, "update", path, data)).toBe(allowed);
    expect(may(acl, "create", path, data)).toBe(allowed);
  });

  it("asks reads but not deletes for required ones", () => {
    expect(may(acl, "read", "upd")).toBe(false);
    expect(may(acl, "read", "upd", { x: "1" })).toBe(true);
    expect(may(acl, "delete", "upd")).toBe(true);
  });

  it("collects them over policies", () => {
    const rule = (body: string) => `path "x" { capabilities = ["update"] ${body} }`;
    const merged = aclOf(
      rule('allowed_parameters = { "a" = ["1"] "b" = ["1"] }'),
      rule('allowed_parameters = { "a" = ["2"] "b" = [] } denied_parameters = { "c" = [] }'),
      rule('required_parameters = ["a"]'),
    );
    expect(may(merged, "update", "x", { a: "2", b: "9" })).toBe(true);
    expect(may(merged, "update", "x", { a: "3" })).toBe(false);
    expect(may(merged, "update", "x", { b: "1" })).toBe(false);
    expect(may(merged, "update", "x", { a: "1", c: "1" })).toBe(false);
  });

  it("limits lists", () => {
    const lists = aclOf(
      'path "kv/a" { capabilities = ["list"] pagination_limit = 10 }\npath "kv/b" { capabilities = ["list"] required_parameters = ["limit"] }',
    );
    expect(lists.check({ operation: "list", path: "kv/a" })).toMatchObject({ allowed: true, paginationLimit: 10 });
    expect(may(lists, "list", "kv/a", { limit: "10" })).toBe(true);
    expect(may(lists, "list", "kv/a", { limit: "11" })).toBe(false);
    expect(may(lists, "list", "kv/a", { limit: 0 })).toBe(false);
    expect(may(lists, "list", "kv/b")).toBe(false);
    expect(may(lists, "list", "kv/b", { limit: 5 })).toBe(true);
  });
});

describe("wrapping limits", () => {
  const acl = aclOf(
    'path "x" { capabilities = ["read"] min_wrapping_ttl = "10s" max_wrapping_ttl = "1h" }',
    'path "x" { capabilities = ["read"] max_wrapping_ttl = "30s" }\npath "min" { capabilities = ["read"] min_wrapping_ttl = 5 }',
  );
  it.each<[string, number | undefined, boolean]>([
    ["x", undefined, false],
    ["x", 9, false],
    ["x", 10, true],
    ["x", 30, true],
    ["x", 31, false],
    ["min", undefined, false],
    ["min", 100_000, true],
  ])("%s wrapped for %s: %s", (path, wrapTtlSeconds, allowed) => {
    expect(acl.check({ operation: "read", path, wrapTtlSeconds }).allowed).toBe(allowed);
  });
});

describe("capabilities", () => {
  const acl = aclOf(
    `path "a/read" { capabilities = ["read"] }
path "a/all" { capabilities = ["create","read","update","patch","delete","list"] }
path "a/sudo" { capabilities = ["sudo","read"] }
path "a/deny" { capabilities = ["deny","read"] }
path "a/glob/*" { capabilities = ["list","read"] }
path "a/+/seg" { capabilities = ["update"] }`,
    'path "a/read" { capabilities = ["delete"] }',
  );
  it.each([
    ["a/all", ["create", "delete", "list", "patch", "read", "update"]],
    ["a/read", ["delete", "read"]],
    ["a/sudo", ["read", "sudo"]],
    ["a/none", ["deny"]],
    ["a/deny", ["deny"]],
    ["a/glob/x/y", ["list", "read"]],
    ["a/glob/", ["list", "read"]],
    ["a/glob", ["deny"]],
    ["a/zz/seg", ["update"]],
    ["a/zz/yy/seg", ["deny"]],
    ["a/read/", ["delete", "read"]],
  ])("of %s", (path, wanted) => {
    expect(acl.capabilities(path)).toEqual(wanted);
  });

  it("of root", () => {
    const root = compileAcl([parsePolicy("root", ""), parsePolicy("p", 'path "x" { capabilities = ["deny"] }')]);
    expect(root).toBe(rootAcl);
    expect(root.capabilities("anything/at/all")).toEqual(["root"]);
    expect(root.check({ operation: "delete", path: "x" })).toMatchObject({ allowed: true, sudo: true, isRoot: true });
  });
});

describe("what is told about an ACL", () => {
  it("is the resultant ACL", () => {
    const acl = aclOf(
      'path "h/sub/*" { capabilities = ["read"] }\npath "a/+/b" { capabilities = ["list"] }\npath "auth/token/lookup-self" { capabilities = ["read"] required_parameters = ["x"] }',
    );
    expect(acl.resultant()).toEqual({
      root: false,
      exact_paths: { "auth/token/lookup-self": { capabilities: ["read"], required_parameters: ["x"] } },
      glob_paths: { "a/+/b": { capabilities: ["list"] }, "h/sub/": { capabilities: ["read"] } },
    });
    expect(rootAcl.resultant()).toMatchObject({ root: true });
  });

  it.each([
    ['path "secret/a" { capabilities = ["read"] }', true],
    ['path "secret/*" { capabilities = ["read"] }', true],
    ['path "sec*" { capabilities = ["read"] }', true],
    ['path "*" { capabilities = ["read"] }', true],
    ['path "+/a" { capabilities = ["read"] }', true],
    ['path "secret" { capabilities = ["list"] }', true],
    ['path "secret/a" { capabilities = ["deny"] }', false],
    ['path "secret/a" { }', false],
    ['path "secrets/a" { capabilities = ["read"] }', false],
    ['path "secrets*" { capabilities = ["read"] }', false],
    ['path "" { capabilities = ["read"] }', false],
  ])("with %s something below secret/ may be done: %s", (text, wanted) => {
    expect(aclOf(text).grantsBelow("secret/")).toBe(wanted);
  });
});

describe("expiring rules", () => {
  it("count until their time", () => {
    const policy = parsePolicy("p", 'path "x" { capabilities = ["read"] expiration = "2030-01-01T00:00:00Z" }');
    const end = Date.UTC(2030, 0, 1);
    const before = compileAcl([policy], end - 1);
    expect(may(before, "read", "x")).toBe(true);
    expect(before.validUntilMillis).toBe(end);
    expect(may(compileAcl([policy], end), "read", "x")).toBe(false);
  });
});
