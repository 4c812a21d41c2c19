// The tree keeps the house rules; and each rule finds what it forbids, in a small tree made for it.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { layerBreach } from "./layers.ts";
import { findProblems } from "./tidy.ts";
import { EXCEPTIONS } from "./tidy-exceptions.ts";
import { readSources } from "./tidy-source.ts";

const REPOSITORY = join(import.meta.dirname, "..");
const HEAD = "// Owns this.\n";

/** The rules broken in a tree of the given files, as "path:line rule". */
function brokenRules(files: Readonly<Record<string, string>>, exceptions = EXCEPTIONS.slice(0, 0)): string[] {
  const root = mkdtempSync(join(tmpdir(), "coffer-tidy-"));
  try {
    for (const [path, text] of Object.entries({ "tsconfig.json": "{}", ...files })) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    const problems = findProblems(readSources(root), exceptions);
    return problems.map(({ path, line, rule }) => `${path}:${line} ${rule}`);
  } finally {
    rmSync(root, { recursive: true });
  }
}

it("finds nothing in this repository", { timeout: 60_000 }, () => {
  const problems = findProblems(readSources(REPOSITORY), EXCEPTIONS);
  expect(problems.map(({ path, line, rule, message }) => `${path}:${line} ${rule}: ${message}`)).toEqual([]);
});

describe("layers", () => {
  it.for([
    ["server/http/codec.ts", "server/core/pipeline.ts"],
    ["server/engines/kv/backend.ts", "server/framework/path.ts"],
    ["server/engines/kv/backend.ts", "server/engines/kv/versions.ts"],
    ["server/engines/kv/backend.ts", "server/barrier/transaction.ts"],
    ["server/auth/token/backend.ts", "server/tokens/token-service.ts"],
    ["server/engines/registry.ts", "server/engines/kv/backend.ts"],
    ["server/storage/lmdb/lmdb-storage.ts", "server/storage/storage.ts"],
    ["server/main.ts", "server/http/listener.ts"],
    ["operator/controllers/vault-cluster/decide.ts", "kube/apply.ts"],
    ["injector/mutate.ts", "operator/api/secret-binding.ts"],
  ] as const)("%s may import %s", ([from, to]) => {
    expect(layerBreach(from, to, "static")).toBeUndefined();
  });

  it.for([
    ["server/core/pipeline.ts", "server/http/codec.ts"],
    ["server/engines/kv/backend.ts", "server/barrier/barrier.ts"],
    ["server/auth/approle/login.ts", "server/tokens/token-service.ts"],
    ["server/engines/kv/backend.ts", "server/engines/pki/backend.ts"],
    ["server/engines/shared.ts", "server/engines/kv/backend.ts"],
    ["server/core/pipeline.ts", "server/auth/token/backend.ts"],
    ["server/core/pipeline.ts", "server/sys/backend.ts"],
    ["server/barrier/barrier.ts", "server/storage/lmdb/lmdb-storage.ts"],
    ["common/clock.ts", "client/retry.ts"],
    ["agent/main.ts", "kube/apply.ts"],
    ["injector/mutate.ts", "operator/controllers/seal/decide.ts"],
    ["cli/main.ts", "server/main.ts"],
    ["somewhere/file.ts", "common/clock.ts"],
  ] as const)("%s may not import %s", ([from, to]) => {
    expect(layerBreach(from, to, "static")).toEqual(expect.any(String));
  });

  it("let the CLI start a program, only when it is asked for", () => {
    expect(layerBreach("cli/commands/server.ts", "server/main.ts", "dynamic")).toBeUndefined();
    expect(layerBreach("agent/main.ts", "server/main.ts", "dynamic")).toEqual(expect.any(String));
  });
});

describe("each rule finds what it forbids", () => {
  const cli = (imports: string) => ({ "src/cli/main.ts": `${HEAD}${imports}` });

  it("layers, by alias, relative, type-only and dynamic imports", () => {
    const files = {
      ...cli('import "#common/a.ts";\nimport "#kube/b.ts";\n'),
      "src/common/a.ts": `${HEAD}export const a = 1;\n`,
      "src/kube/b.ts": `${HEAD}import type { C } from "#client/c.ts";\nawait import("../client/c.ts");\nexport type D = C;\n`,
      "src/client/c.ts": `${HEAD}import "#test/kit.ts";\nexport type C = import("#kube/b.ts").D;\n`,
      "test/kit.ts": HEAD,
    };
    expect(brokenRules(files)).toEqual([
      "src/cli/main.ts:3 layers",
      "src/client/c.ts:2 layers",
      "src/client/c.ts:3 layers",
      "src/kube/b.ts:2 layers",
      "src/kube/b.ts:3 layers",
      "src/kube/b.ts:3 aliases",
    ]);
  });

  it("packages outside their folder, and packages that nobody decided on", () => {
    const text = `${HEAD}import "node:fs";\nimport "lmdb";\nimport "lodash/get";\nimport type {} from "@aws-sdk/client-kms";\n`;
    const files = {
      ...cli('import "#server/storage/lmdb/a.ts";\n'),
      "src/server/storage/lmdb/a.ts": text,
      "test/a.ts": text,
    };
    expect(brokenRules(files)).toEqual([
      "src/cli/main.ts:2 layers",
      "src/server/storage/lmdb/a.ts:4 packages",
      "src/server/storage/lmdb/a.ts:5 packages",
    ]);
  });

  it("aliases inside an area", () => {
    const files = { ...cli('import "#cli/print.ts";\n'), "src/cli/print.ts": HEAD };
    expect(brokenRules(files)).toEqual(["src/cli/main.ts:2 aliases"]);
  });

  it("sizes at one more than the limit, and describe is no function", () => {
    const body = (lines: number) => `() => {\n${"  a();\n".repeat(lines - 2)}}`;
    const files = {
      "test/full.ts": `${HEAD}${"a();\n".repeat(499)}`,
      "test/over.ts": `${HEAD}${"a();\n".repeat(500)}`,
      "test/long.test.ts": `describe("x", ${body(90)});\nexport const b = ${body(70)};\nexport const c = ${body(71)};\n`,
    };
    expect(brokenRules(files)).toEqual(["test/long.test.ts:161 function-size", "test/over.ts:1 file-size"]);
  });

  it("names, head comments and exports", () => {
    const files = {
      "test/utils.ts": HEAD,
      "test/camelCase.ts": HEAD,
      "test/bare.ts": "export const a = 1;\n",
      "test/barrel.ts": `${HEAD}export * from "./bare.ts";\nexport { a } from "./bare.ts";\nexport default 1;\n`,
    };
    expect(brokenRules(files)).toEqual([
      "test/bare.ts:1 head-comment",
      "test/barrel.ts:2 exports-by-name",
      "test/barrel.ts:3 exports-by-name",
      "test/barrel.ts:4 exports-by-name",
      "test/camelCase.ts:1 file-name",
      "test/utils.ts:1 file-name",
    ]);
  });

  it("what only some files may do", () => {
    const lines = [
      "process.env['A'];",
      "process['argv'];",
      "Date.now();",
      "new Date();",
      "new Date(0);",
      "Math.random();",
    ];
    const timers = [
      "setTimeout(a, 1);",
      'import "node:timers/promises";',
      "(a as unknown as string);",
      "it.only('a');",
    ];
    const text = `${HEAD}${[...lines, ...timers].join("\n")}\n`;
    const files = { ...cli('import "./a.ts";\nimport "#common/b.ts";\nprocess.argv;\n'), "src/cli/a.ts": text };
    const found = brokenRules({ ...files, "src/common/b.ts": text, "test/c.ts": text });
    const at = (path: string, ...numbers: number[]) => numbers.map((line) => `${path}:${line} reserved`);
    expect(found.sort()).toEqual(
      [
        ...at("src/cli/a.ts", 2, 3, 4, 5, 7, 8, 9, 10, 11),
        ...at("src/common/b.ts", 2, 3, 10, 11),
        ...at("test/c.ts", 10, 11),
      ].sort(),
    );
  });

  it("tests that do not run, but not those that find out that a part is missing", () => {
    const text =
      'it.skip("a", f);\ndescribe.only.each([])();\nit("b", (test) => test.skip());\nit.skipIf(c)("d", f);\n';
    expect(brokenRules({ "test/a.test.ts": text })).toEqual(["test/a.test.ts:1 reserved", "test/a.test.ts:2 reserved"]);
  });

  it("work left open", () => {
    expect(brokenRules({ "test/a.ts": `${HEAD}// ${"TO"}DO: later\n` })).toEqual(["test/a.ts:2 left-open"]);
  });

  it("a file that only its test imports, and not one that a worker is started from", () => {
    const files = {
      ...cli('new URL("./worker.ts", import.meta.url);\n'),
      "src/cli/worker.ts": HEAD,
      "src/cli/dead.ts": HEAD,
      "src/cli/dead.test.ts": 'import "./dead.ts";\n',
    };
    expect(brokenRules(files)).toEqual(["src/cli/dead.ts:1 unused-file"]);
  });

  it("an exception that excuses nothing", () => {
    const files = { "test/utils.ts": HEAD };
    const excused = { path: "test/utils.ts", rule: "file-name", reason: "a test of tidy" };
    expect(brokenRules(files, [excused])).toEqual([]);
    expect(brokenRules(files, [excused, { ...excused, rule: "file-size" }])).toEqual([
      "test/utils.ts:1 stale-exception",
    ]);
  });
});
