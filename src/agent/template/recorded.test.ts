// Our templates against what consul-template's engine made of the same cases (test/kit/templates/recorder): the same
// output to the byte, or a failure at the same step. Where we differ on purpose, it is listed here with the reason.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { isJsonObject, parseJson } from "#common/json.ts";
import { json as anyJson, boolean, list, map, object, optional, string, withDefault } from "#common/schema.ts";
import type { TemplateHost } from "./function.ts";
import { compileTemplate } from "./template.ts";
import { fromJson, keepDigits, Struct } from "./values.ts";

const FILE = new URL("../../../test/fixtures/templates/recorded.json", import.meta.url);
const recording = object({
  secrets: map(anyJson),
  lists: map(list(string)),
  env: map(string),
  cases: list(
    object({
      template: string,
      errorOnMissingKey: withDefault(boolean, false),
      leftDelimiter: optional(string),
      rightDelimiter: optional(string),
      output: optional(string),
      hex: optional(string),
      error: optional(string),
    }),
  ),
}).parse(parseJson(readFileSync(FILE, "utf8")));

const host: TemplateHost = {
  secret({ verb, path }) {
    if (verb === "list") return recording.lists[path] ?? null;
    const data = recording.secrets[path];
    if (!isJsonObject(data)) return null;
    return new Struct("*dependency.Secret", {
      ...{ RequestID: "", LeaseID: `lease/${path}`, LeaseDuration: 3600n, Renewable: true },
      Data: fromJson(data, keepDigits),
    });
  },
  source: () => null,
  environment: (name) => recording.env[name] ?? "",
  now: () => 0,
};

function data(body: string): string {
  return `{{ with secret "secret/data/db" }}{{ with .Data.data }}${body}{{ end }}{{ end }}`;
}

/** Templates for which ours gives something else, and why. */
const ON_PURPOSE: ReadonlyMap<string, string> = new Map([
  ['{{ "a" | }}', "Go takes a | without anything behind it; here it is told"],
  [data('{{ .list | join "," }}'), "Go's join takes no list of a secret, for its type is another; here it does"],
  [data("{{ . | toYAML }}"), "a number that no float64 holds keeps its digits here"],
]);

interface Outcome {
  output?: string;
  hex?: string;
  error?: string;
}

function outcomeOf({ template, errorOnMissingKey, leftDelimiter, rightDelimiter }: (typeof recording.cases)[number]) {
  let step = "parse";
  try {
    const compiled = compileTemplate({ name: "case", text: template, leftDelimiter, rightDelimiter });
    step = "execute";
    const bytes = compiled.render({ host, data: null, errorOnMissingKey });
    const output = bytes.toString("utf8");
    return Buffer.from(output).equals(bytes) ? { output } : { hex: bytes.toString("hex") };
  } catch (error) {
    return { error: step, message: String(error) };
  }
}

it("does what the recorded engine does", () => {
  const differing = recording.cases.flatMap((recorded) => {
    const { output, hex, error } = recorded;
    const ours: Outcome = outcomeOf(recorded);
    const same = error === undefined ? ours.output === output && ours.hex === hex : ours.error !== undefined;
    return same === ON_PURPOSE.has(recorded.template)
      ? [{ template: recorded.template, theirs: output ?? hex ?? error, ours }]
      : [];
  });
  expect(differing).toEqual([]);
});
