// Whatever a template says, it ends: with a file within the limits, or with a sentence that shows line and column. Nothing
// else comes out, no secret is in the sentence, and nothing outside is reached.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CofferError } from "#common/errors.ts";
import type { TemplateHost } from "./function.ts";
import { functionNames } from "./functions/registry.ts";
import { NESTING_MAX, OUTPUT_MAX, TEMPLATE_BYTES_MAX } from "./limits.ts";
import { compileTemplate } from "./template.ts";
import { JsonNumber, Struct, type Value } from "./values.ts";

const SECRET = "hush-hush";
const DATA: Value = new Map<string, Value>([
  ["s", SECRET],
  ["n", new JsonNumber("5")],
  ["l", ["a", 1n, null]],
  ["m", new Map<string, Value>([["k", SECRET]])],
]);
const host: TemplateHost = {
  secret: () => new Struct("*dependency.Secret", { Data: DATA }),
  source: () => DATA,
  environment: () => "",
  now: () => 0,
};

type Outcome = { kind: "output"; text: string } | { kind: "error"; message: string };

function outcome(text: string): Outcome {
  try {
    const rendered = compileTemplate({ name: "t", text }).render({ host, data: DATA, errorOnMissingKey: false });
    return { kind: "output", text: rendered.toString("utf8") };
  } catch (error) {
    if (!(error instanceof CofferError)) throw error;
    expect(error.code).toBe("invalid_request");
    return { kind: "error", message: error.message };
  }
}

const LITTLE = ["1", "0", "-7", "1.5", '"a"', '"%s %d"', '"("', "`b`", "'c'", "nil", "true", ".", "$", "$x"];
const operand = fc.oneof(
  fc.constantFrom(...LITTLE, ".s", ".n", ".l", ".m", ".m.k", ".nope", ".nope.x", "$x.s", "(index .l 0)", "(len .s)"),
);
// Every function there is, with any arguments.
const command = fc
  .tuple(fc.option(fc.constantFrom(...functionNames()), { freq: 3 }), fc.array(operand, { maxLength: 4 }))
  .map(([name, operands]) => [...(name === null ? [] : [name]), ...operands].join(" "));
const pipeline = fc.array(command, { minLength: 1, maxLength: 3 }).map((commands) => commands.join(" | "));
const { block } = fc.letrec<{ block: string }>((tie) => ({
  block: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom("text ", "{{ break }}", "{{ continue }}", "{{/* c */}}", "{{- 1 -}}", '{{ template "t" . }}'),
    pipeline.map((p) => `{{ ${p} }}`),
    pipeline.map((p) => `{{ $x := ${p} }}`),
    fc
      .tuple(fc.constantFrom("if", "with", "range", "range $i, $e :="), pipeline, tie("block"), tie("block"))
      .map(([word, p, a, b]) => `{{ ${word} ${p} }}${a}{{ else }}${b}{{ end }}`),
    fc.tuple(tie("block"), tie("block")).map(([a, b]) => a + b),
  ),
}));

describe("any template", () => {
  it("made of the language's parts ends within its limits, and tells no secret", () => {
    fc.assert(
      fc.property(block, fc.boolean(), (body, defines) => {
        const text = `{{ $x := . }}${defines ? `{{ define "t" }}${body}{{ end }}` : ""}${body}`;
        const result = outcome(text);
        if (result.kind === "output") {
          expect(result.text.length).toBeLessThanOrEqual(OUTPUT_MAX);
          return;
        }
        expect(result.message).toMatch(/^template t:\d+:\d+: /);
        expect(result.message).not.toContain(SECRET);
      }),
      { numRuns: 400 },
    );
  });

  it("made of any characters at all does, too", () => {
    const pieces = fc.constantFrom(
      "{{",
      "}}",
      "-",
      " ",
      "\n",
      '"',
      "`",
      "'",
      "(",
      ")",
      "|",
      ".",
      "$",
      ":=",
      "if",
      "end",
      "é",
      "/*",
      "*/",
      "1",
    );
    const text = fc.array(fc.oneof(pieces, fc.string({ maxLength: 3 })), { maxLength: 30 }).map((p) => p.join(""));
    fc.assert(
      fc.property(text, (t) => {
        expect(["output", "error"]).toContain(outcome(t).kind);
      }),
      { numRuns: 300 },
    );
  });
});

describe("limits", () => {
  const NESTED = '{{ define "t" }}{{ template "t" . }}{{ template "t" . }}{{ end }}{{ template "t" . }}';
  it.each([
    ["a loop without end", "{{ range loop 1000000000 }}x{{ end }}", "make more than"],
    ["a loop in a loop", "{{ range loop 5000 }}{{ range loop 5000 }}{{ end }}{{ end }}", "steps"],
    [
      "steps",
      "{{ range loop 800 }}{{ range $.l }}{{ range loop 400 }}{{ len $.s }}{{ end }}{{ end }}{{ end }}",
      "steps",
    ],
    ["a range over a number", "{{ range 1000000000 }}{{ end }}", "make more than"],
    [
      "text that doubles",
      '{{ $a := "aaaaaaaa" }}{{ range loop 64 }}{{ $a = replaceAll "a" "aa" $a }}{{ end }}',
      "make more than",
    ],
    ["repeat", '{{ sprig_repeat 1000000000 "a" }}', "make more than"],
    ["indent", '{{ indent 100000000 "a" }}', "make more than"],
    ["until", "{{ sprig_until 1000000000 }}", "make more than"],
    ["output", `{{ range loop 2000 }}${"x".repeat(1000)}{{ end }}`, "the output is longer than"],
    ["templates that call themselves", NESTED, "nested deeper than"],
    [
      "executeTemplate",
      '{{ define "t" }}{{ executeTemplate "t" . }}{{ end }}{{ template "t" . }}',
      "nested deeper than",
    ],
    [
      "blocks",
      `${"{{ if true }}".repeat(NESTING_MAX + 1)}x${"{{ end }}".repeat(NESTING_MAX + 1)}`,
      "nested deeper than",
    ],
    ["else if", `{{ if false }}${"{{ else if false }}".repeat(NESTING_MAX + 1)}{{ end }}`, "nested deeper than"],
    ["parentheses", `{{ ${"(".repeat(NESTING_MAX + 1)}1${")".repeat(NESTING_MAX + 1)} }}`, "nested deeper than"],
    ["JSON", `{{ parseJSON (sprig_repeat 100000 "[") }}`, "is no JSON"],
    [
      "a regular expression that tries again",
      '{{ regexMatch "^(a+)+$" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!" }}',
      "takes longer than",
    ],
    ["a wide column", '{{ printf "%1000000000d" 1 }}', undefined],
  ])("%s", (_name, text, message) => {
    const result = outcome(text);
    if (message === undefined) expect(result).toEqual({ kind: "output", text: "%!(BADWIDTH)%!(EXTRA int=1)" });
    else expect(result.kind === "error" ? result.message : "no error").toContain(message);
  });

  it("the longest template, and one byte more", () => {
    expect(outcome("x".repeat(TEMPLATE_BYTES_MAX)).kind).toBe("output");
    expect(outcome("x".repeat(TEMPLATE_BYTES_MAX + 1))).toMatchObject({ kind: "error" });
    expect(outcome(`${"{{ if true }}".repeat(NESTING_MAX)}x${"{{ end }}".repeat(NESTING_MAX)}`).kind).toBe("output");
  });
});

describe("what is not there", () => {
  it.each([
    "file",
    "plugin",
    "writeToFile",
    "key",
    "service",
    "sockaddr",
    "sprig_env",
    "sprig_expandenv",
    "constructor",
    "toString",
  ])("%s", (name) =>
    expect(outcome(`{{ ${name} "x" }}`)).toEqual({
      kind: "error",
      message: `template t:1:4: there is no function "${name}" in templates here`,
    }),
  );

  it("a prototype", () => {
    expect(outcome("{{ .constructor }}{{ .__proto__ }}{{ index . `toString` }}")).toEqual({
      kind: "output",
      text: "<no value><no value><no value>",
    });
  });

  it("a secret as a whole", () => {
    expect(outcome('{{ secret "x" }}')).toMatchObject({ message: expect.stringContaining("cannot be written") });
    expect(outcome('{{ secret "x" | toJSON }}')).toMatchObject({ message: expect.stringContaining("has no JSON") });
  });
});
