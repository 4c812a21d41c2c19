// The sentences that tell people why, and that they say what `check` does.
import { describe, expect, it } from "vitest";
import { compileAcl, rootAcl } from "./acl.ts";
import { explain } from "./explanation.ts";
import { parsePolicy } from "./parse-policy.ts";

const app = parsePolicy(
  "app",
  `# two rules\npath "secret/data/app/*" {\n  capabilities = ["read"]\n}\npath "secret/data/app/locked" {\n  capabilities = ["deny"]\n}\n`,
);
const ops = parsePolicy("ops", `path "sys/seal" { capabilities = ["update"] }`);
const limit = parsePolicy("limit", `path "secret/data/app/public" { capabilities = ["read"] }`);
const own = compileAcl([app, ops]);

describe("explain", () => {
  it("names the policy, the line and the rule of a grant", () => {
    const found = explain([own], { operation: "read", path: "secret/data/app/db" }, false);
    expect(found).toMatchObject({
      allowed: true,
      reason: "granted by policy app",
      rule: "secret/data/app/*",
      needed: [],
    });
    expect(found.sources).toEqual([{ policy: "app", line: 2, path: "secret/data/app/*", capabilities: ["read"] }]);
  });

  it.each([
    ["no rule matches the path", { operation: "read", path: "other" }, [{ path: "other", capability: "read" }]],
    [
      "does not grant this operation",
      { operation: "update", path: "secret/data/app/db" },
      [{ path: "secret/data/app/db", capability: "update" }],
    ],
    [
      "no rule matches the path",
      { operation: "list", path: "secret/metadata" },
      [{ path: "secret/metadata/", capability: "list" }],
    ],
    ["a matching rule says deny", { operation: "read", path: "secret/data/app/locked" }, []],
  ] as const)("says that %s", (words, request, needed) => {
    const found = explain([own], request, false);
    expect(found.allowed).toBe(false);
    expect(found.reason).toContain("refused by the token's policies");
    expect(found.reason).toContain(words);
    expect(found.needed).toEqual(needed);
  });

  it("asks for sudo where the path does", () => {
    const found = explain([own], { operation: "update", path: "sys/seal" }, true);
    expect(found).toMatchObject({ allowed: false, needed: [{ path: "sys/seal", capability: "sudo" }] });
    expect(found.reason).toContain("sudo");
  });

  it("blames the boundary when the policies would allow it", () => {
    const found = explain([own, compileAcl([limit])], { operation: "read", path: "secret/data/app/db" }, false);
    expect(found.allowed).toBe(false);
    expect(found.reason).toBe("refused by the permission boundary: no rule matches the path");
  });

  it("needs no rule for root", () => {
    expect(explain([rootAcl], { operation: "delete", path: "anything" }, true)).toMatchObject({
      allowed: true,
      sources: [],
    });
  });
});
