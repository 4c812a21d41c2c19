import { describe, expect, it } from "vitest";
import { generatePassword } from "./generate-password.ts";
import {
  CHARSET_LENGTH_MAX,
  PASSWORD_LENGTH_MAX,
  PASSWORD_LENGTH_MIN,
  parsePasswordPolicy,
  RULES_MAX,
} from "./password-policy.ts";

const charset = (characters: string, least = 0) => `rule "charset" { charset = "${characters}" min-chars = ${least} }`;
const policy = (length: number, ...rules: string[]) => `length = ${length}\n${rules.join("\n")}`;

describe("parsing a password policy", () => {
  it("reads HCL and JSON alike", () => {
    const expected = { length: 8, rules: [{ characters: ["a", "b"], least: 3 }] };
    expect(parsePasswordPolicy(policy(8, charset("abab", 3)))).toEqual(expected);
    expect(parsePasswordPolicy('{"length": 8, "rule": [{"charset": {"charset": "ab", "min-chars": 3}}]}')).toEqual(
      expected,
    );
  });

  it("holds its limits at max and max + 1", () => {
    for (const length of [PASSWORD_LENGTH_MIN, PASSWORD_LENGTH_MAX])
      expect(parsePasswordPolicy(policy(length, charset("a"))).length).toBe(length);
    for (const length of [PASSWORD_LENGTH_MIN - 1, PASSWORD_LENGTH_MAX + 1])
      expect(() => parsePasswordPolicy(policy(length, charset("a")))).toThrow("length must be from");
    const rules = (count: number) => policy(8, ...Array.from({ length: count }, () => charset("a")));
    expect(parsePasswordPolicy(rules(RULES_MAX)).rules).toHaveLength(RULES_MAX);
    expect(() => parsePasswordPolicy(rules(RULES_MAX + 1))).toThrow("rules");
    expect(parsePasswordPolicy(policy(8, charset("a".repeat(CHARSET_LENGTH_MAX)))).rules).toHaveLength(1);
    expect(() => parsePasswordPolicy(policy(8, charset("a".repeat(CHARSET_LENGTH_MAX + 1))))).toThrow("charset");
    expect(parsePasswordPolicy(policy(6, charset("a", 6))).length).toBe(6);
    expect(() => parsePasswordPolicy(policy(6, charset("a", 4), charset("b", 3)))).toThrow("at least 7 characters");
  });

  it.each([
    ["nothing", ""],
    ["no rule", "length = 8"],
    ["no length", charset("a")],
    ["an unknown member", `${policy(8, charset("a"))}\nx = 1`],
    ["an unknown rule", 'length = 8\nrule "words" { list = "a" }'],
    ["an unknown member of a rule", 'length = 8\nrule "charset" { charset = "a" max-chars = 1 }'],
    ["an empty charset", policy(8, charset(""))],
    ["a control character", policy(8, charset("a\\n"))],
    ["a fraction", policy(8.5, charset("a"))],
    ["a negative number", policy(8, charset("a", -1))],
    ["rubbish", "length = = 3"],
  ])("refuses %s", (_what, text) => {
    expect(() => parsePasswordPolicy(text)).toThrow();
  });
});

describe("generating a password", () => {
  it("has its length and what every rule demands, in any place", () => {
    const parsed = parsePasswordPolicy(policy(10, charset("0123456789", 3), charset("abcdef"), charset("é𝕏", 1)));
    const firsts = new Set<string>();
    for (let i = 0; i < 300; i++) {
      const characters = [...generatePassword(parsed)];
      expect(characters).toHaveLength(10);
      expect(characters.filter((c) => /\d/.test(c)).length).toBeGreaterThanOrEqual(3);
      expect(characters.some((c) => c === "é" || c === "𝕏")).toBe(true);
      firsts.add(characters[0] ?? "");
    }
    expect([...firsts].some((c) => /\d/.test(c)) && [...firsts].some((c) => /[a-f]/.test(c))).toBe(true);
  });

  it("chooses every character equally often", () => {
    const parsed = parsePasswordPolicy(policy(100, charset("abc")));
    const counts = new Map<string, number>();
    for (let i = 0; i < 300; i++) for (const c of generatePassword(parsed)) counts.set(c, (counts.get(c) ?? 0) + 1);
    // 30,000 draws: 10,000 each with a standard deviation of 82; six of them are a failure in a billion runs.
    for (const c of "abc") expect(Math.abs((counts.get(c) ?? 0) - 10_000)).toBeLessThan(500);
  });
});
