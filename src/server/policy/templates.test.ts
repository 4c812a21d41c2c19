import { describe, expect, it } from "vitest";
import { compileAcl } from "./acl.ts";
import { parsePolicy } from "./parse-policy.ts";
import { applyTemplates } from "./templates.ts";

const policy = parsePolicy(
  "t",
  `path "kv/name/{{identity.entity.name}}/*" { capabilities = ["read"] }
path "kv/{{identity.entity.id}}/{{ token.metadata.team }}" { capabilities = ["read"] }
path "kv/plain" { capabilities = ["read"] }`,
);

const paths = (values: Readonly<Record<string, string>>) =>
  applyTemplates(policy, (variable) => values[variable]).rules.map((rule) => rule.path);

describe("applyTemplates", () => {
  it("fills in values", () => {
    expect(paths({ "identity.entity.name": "alice", "identity.entity.id": "1", "token.metadata.team": "red" })).toEqual(
      ["kv/name/alice/*", "kv/1/red", "kv/plain"],
    );
  });

  it("leaves out rules without a value", () => {
    expect(paths({ "identity.entity.name": "alice", "identity.entity.id": "1" })).toEqual([
      "kv/name/alice/*",
      "kv/plain",
    ]);
  });

  it.each(["", "*", "a*", "+", "a+b", "a/b", "..//", "{{x}}"])("refuses the value %j", (value) => {
    expect(paths({ "identity.entity.name": value })).toEqual(["kv/plain"]);
  });

  it("gives back a policy without templates as it is", () => {
    const plain = parsePolicy("p", 'path "a" {}');
    expect(applyTemplates(plain, () => "x")).toBe(plain);
  });

  it("is needed before compiling: a raw template is no path", () => {
    const acl = compileAcl([policy]);
    expect(acl.patterns).toEqual(["kv/plain"]);
    expect(acl.check({ operation: "read", path: "kv/name/{{identity.entity.name}}/k" }).allowed).toBe(false);
  });
});
