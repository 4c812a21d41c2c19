import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CofferError } from "#common/errors.ts";
import { POLICY_RULES_MAX, parsePolicy } from "./parse-policy.ts";

const rule = (body: string) => parsePolicy("p", `path "x" { ${body} }`).rules[0];

describe("parsePolicy", () => {
  it("reads rules in HCL and in JSON alike", () => {
    const hcl = parsePolicy("Mixed", '# note\npath "/secret/*" {\n  capabilities = ["read", "list"]\n}\n');
    const json = parsePolicy("mixed", '{"path":{"secret/*":{"capabilities":["read","list"]}}}');
    expect({ ...hcl, rules: hcl.rules.map((each) => ({ ...each, line: 1 })) }).toEqual(json);
    expect(hcl.name).toBe("mixed");
    expect(hcl.rules).toEqual([
      {
        path: "secret/*",
        line: 2,
        capabilities: ["read", "list"],
        allowedParameters: {},
        deniedParameters: {},
        requiredParameters: [],
        minWrappingTtlSeconds: 0,
        maxWrappingTtlSeconds: 0,
        paginationLimit: 0,
      },
    ]);
  });

  it.each([
    ['policy = "write"', ["create", "read", "update", "delete", "list"]],
    ['policy = "read"', ["read", "list"]],
    ['policy = "deny"', ["deny"]],
    ['policy = "sudo"', ["create", "read", "update", "delete", "list", "sudo"]],
    ["", []],
  ])("expands the old form %s", (body, wanted) => {
    expect(rule(body)?.capabilities).toEqual(wanted);
  });

  it("reads limits", () => {
    expect(
      rule(
        `allowed_parameters = { "Color" = ["red", 1, true] "*" = [] } denied_parameters { bad = [] }
         required_parameters = ["Owner"] min_wrapping_ttl = "90s" max_wrapping_ttl = 7200 pagination_limit = 10
         expiration = "2030-01-01T00:00:00Z" comment = "why"`,
      ),
    ).toMatchObject({
      allowedParameters: { color: ["red", 1, true], "*": [] },
      deniedParameters: { bad: [] },
      requiredParameters: ["owner"],
      minWrappingTtlSeconds: 90,
      maxWrappingTtlSeconds: 7200,
      paginationLimit: 10,
      expirationMillis: Date.UTC(2030, 0, 1),
    });
  });

  it("does not turn a wrapping limit below a second into none", () => {
    expect(rule('max_wrapping_ttl = "300ms"')?.maxWrappingTtlSeconds).toBe(1);
    expect(rule("max_wrapping_ttl = 0.5")?.maxWrappingTtlSeconds).toBe(1);
    expect(rule('max_wrapping_ttl = "0s"')?.maxWrappingTtlSeconds).toBe(0);
  });

  it("lists the variables of templates", () => {
    const text = 'path "a/{{ identity.entity.id }}/{{identity.entity.name}}" {}\npath "b/{{identity.entity.id}}" {}';
    expect(parsePolicy("p", text).variables).toEqual(["identity.entity.id", "identity.entity.name"]);
  });

  it.each([
    ['path "x" { capabilities = ["read"]', "At 1:36: object expected closing RBRACE got: EOF"],
    ['path "x" { capabilities = ["fly"] }', 'path "x": invalid capability "fly"'],
    ['path "x" { capabilitie = ["read"] }', '1 error occurred:\n\t* path "x": invalid key "capabilitie" on line 1\n\n'],
    ['paths "x" { capabilities = ["read"] }', '1 error occurred:\n\t* invalid key "paths" on line 0\n\n'],
    ['path "x/+*" { capabilities = ["read"] }', "path \"x/+*\": invalid use of wildcards ('+*' is forbidden)"],
    ["hello", "At 1:7: key 'hello' expected start of object ('{') or assignment ('=')"],
    ['path "x" { min_wrapping_ttl = "soon" }', 'error parsing min_wrapping_ttl: time: invalid duration "soon"'],
    [
      'path "x" { min_wrapping_ttl = "2h" max_wrapping_ttl = "1h" }',
      "max_wrapping_ttl cannot be less than min_wrapping_ttl",
    ],
    ['path "x/{{identity.entity.name/y" {}', "failed to validate policy templating: unbalanced templating characters"],
    ['path "x/identity.entity.name}}/y" {}', "failed to validate policy templating: unbalanced templating characters"],
    ['path "x/{{a}}b}}" {}', "failed to validate policy templating: unbalanced templating characters"],
    ['path "x" { policy = "constructor" }', 'path "x": invalid policy "constructor"'],
    ['path "x" { capabilities = [1] }', 'path "x": capabilities must be a list of strings'],
    ['path "x" { allowed_parameters = { a = "b" } }', 'path "x": allowed_parameters: a must be a list of values'],
    ['path "x" { mfa_methods = ["a"] }', 'path "x": mfa_methods is not supported; leaving it out would widen the rule'],
    ['path "x" { subscribe_event_types = 1 }', 'path "x": subscribe_event_types must be a list of strings'],
    ['path "x" { expiration = "soon" }', 'path "x": expiration must be a time such as "2030-01-31T12:00:00Z"'],
    ['path "x" { pagination_limit = -1 }', 'path "x": pagination_limit must be a whole number that is not negative'],
  ])("refuses %j", (text, message) => {
    expect(() => parsePolicy("p", text)).toThrow(
      new CofferError("invalid_request", `failed to parse policy: ${message}`),
    );
  });

  it("has a limit on rules", () => {
    const text = (count: number) => Array.from({ length: count }, (_, i) => `path "${i}" {}\n`).join("");
    expect(parsePolicy("p", text(POLICY_RULES_MAX)).rules).toHaveLength(POLICY_RULES_MAX);
    expect(() => parsePolicy("p", text(POLICY_RULES_MAX + 1))).toThrow("more than 10000 rules");
  });

  it("fails on any text only by its own error", () => {
    const words = fc.constantFrom(
      "path",
      '"a/{{x}}*"',
      "{",
      "}",
      "=",
      "capabilities",
      '["read"]',
      "policy",
      '"write"',
      "[]",
      "3",
      "allowed_parameters",
      "\n",
      '"__proto__"',
      "min_wrapping_ttl",
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 20 }), (all) => {
        try {
          parsePolicy("p", all.join(" "));
        } catch (error) {
          expect(error).toBeInstanceOf(CofferError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
