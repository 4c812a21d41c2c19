import { describe, expect, it } from "vitest";
import { compileAcl } from "./acl.ts";
import { boundAcl } from "./bounded-acl.ts";
import { FILTER_LENGTH_MAX, parseListFilter, visibleKeys } from "./list-filter.ts";
import { parsePolicy } from "./parse-policy.ts";

describe("the path of a key", () => {
  it.each([
    ["{{ .path }}{{ .key }}", "kv/metadata/a/x"],
    ['{{ .path | replace "kv/metadata/" "kv/data/" }}{{.key}}', "kv/data/a/x"],
    ['{{ replace "metadata" "data" .path }}{{ .key | uppercase }}', "kv/data/a/X"],
    ['pki/cert/{{ .key | replace ":" "-" | lowercase }}', "pki/cert/x"],
    ['{{ .path | replace "/" "\\"" }}{{ .key }}', 'kv"metadata"a"x'],
  ])("%s", (text, path) => {
    expect(parseListFilter("p", text).pathOf("kv/metadata/a", "x")).toBe(path);
    expect(parseListFilter("p", text).pathOf("kv/metadata/a/", "x")).toBe(path);
  });

  it.each([
    ["kv/data/x", "does not say {{ .key }}"],
    ["{{ .path }}", "does not say {{ .key }}"],
    ["{{ .key", "has braces that do not match"],
    ["{{ .key }}}}", "has braces that do not match"],
    ["{{ .keys }}", "wants .path or .key"],
    ['{{ .key | replace "a" }}', "it knows replace, lowercase and uppercase"],
    ["{{ .key | replace a b }}", "wants a text in quotes, not a"],
    ["{{ .key | env }}", "it knows replace, lowercase and uppercase"],
    ["{{ .key | }}", "it knows replace, lowercase and uppercase"],
    ['{{ .key "}}', "cannot read"],
    [`{{ .key }}${"a".repeat(FILTER_LENGTH_MAX)}`, "is longer than"],
  ])("is refused where it is written: %s", (text, message) => {
    expect(() => parsePolicy("p", policyOf(text))).toThrow(message);
  });
});

const policyOf = (filter: string) =>
  `path "kv/metadata/a" { capabilities = ["list"] list_scan_response_keys_filter_path = ${JSON.stringify(filter)} }`;

describe("a filtered list", () => {
  const acl = compileAcl([
    parsePolicy(
      "p",
      `${policyOf('{{ .path | replace "metadata" "data" }}{{ .key }}')}
path "kv/data/a/x" { capabilities = ["read"] }
path "kv/data/a/y" { capabilities = ["list"] }
path "kv/data/a/in/*" { capabilities = ["list"] }
path "kv/data/a/out/*" { capabilities = ["read"] }`,
    ),
  ]);
  const { listFilters = [], allowed } = acl.check({ operation: "list", path: "kv/metadata/a" });

  it("shows what its caller may read, and folders that he may list", () => {
    expect(allowed).toBe(true);
    const keys = ["x", "y", "z", "in/", "out/", "in/deep", "out/deep"];
    expect(visibleKeys(acl, listFilters, "kv/metadata/a", keys)).toEqual(["x", "in/", "out/deep"]);
  });

  it("is filtered though another policy grants it unfiltered, and by a boundary's filter as well", () => {
    const open = parsePolicy("open", 'path "kv/*" { capabilities = ["list", "read"] }');
    const same = parsePolicy("same", 'path "kv/metadata/a" { capabilities = ["list"] }');
    const filtered = parsePolicy("f", policyOf("{{ .path }}{{ .key }}"));
    const merged = compileAcl([same, filtered]).check({ operation: "list", path: "kv/metadata/a" });
    expect(merged.listFilters?.map(({ text }) => text)).toEqual(["{{ .path }}{{ .key }}"]);
    const bounded = boundAcl(compileAcl([open]), compileAcl([filtered]));
    const decision = bounded.check({ operation: "list", path: "kv/metadata/a" });
    expect(visibleKeys(bounded, decision.listFilters ?? [], "kv/metadata/a", ["x"])).toEqual([]);
  });
});
