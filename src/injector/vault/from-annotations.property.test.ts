// Any annotations of vault-k8s on any pod: what comes out is consistent and stays so at a second call, or a sentence that
// names the annotation. Nothing is thrown, whatever the values are.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agentConfigSchema } from "#common/agent-config.ts";
import { isJsonArray, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { applied, at, pod, settings, surroundings } from "#test/injector/fixtures.ts";
import { mutate } from "../mutate.ts";
import { allNames, keyOf } from "./read-annotations.ts";

const PREFIX = "vault.hashicorp.com/";
const around = surroundings([]);
const known = allNames().map((which) => keyOf(which));
const values = fc.oneof(
  fc.constantFrom(
    "true",
    "false",
    "1",
    "",
    "5m",
    "64Mi",
    "0440",
    "secret/data/a",
    "/a/b",
    "web",
    "json",
    "[]",
    "{{",
    "kill -HUP $(pidof a)",
  ),
  fc.string(),
);
const anyKey = fc
  .tuple(fc.constantFrom(...known), fc.constantFrom("", "-a", "-B", "-file-a"))
  .map(([key, name]) => `${key}${name}`);
const annotations = fc.dictionary(fc.oneof(anyKey, anyKey, fc.constant(`${PREFIX}unknown`)), values, { maxKeys: 8 });

function listOf(value: JsonValue | undefined): readonly JsonValue[] {
  return isJsonArray(value) ? value : [];
}

function annotatedPod(given: Readonly<Record<string, string>>, initContainers: JsonObject[]): JsonObject {
  const base = {
    [`${PREFIX}agent-inject-secret-a`]: "kv/a",
    [`${PREFIX}role`]: "r",
    ...given,
    [`${PREFIX}agent-inject`]: "true",
  };
  return pod(initContainers.length === 0 ? {} : { initContainers }, { labels: {}, annotations: base });
}

function expectConsistent(out: JsonObject): void {
  const volumes = listOf(at(out, "spec", "volumes")).map((volume) => at(volume, "name"));
  expect(new Set(volumes).size).toBe(volumes.length);
  const containers = [...listOf(at(out, "spec", "initContainers")), ...listOf(at(out, "spec", "containers"))];
  for (const container of containers) {
    const mounts = listOf(at(container, "volumeMounts"));
    for (const mount of mounts) expect(volumes).toContain(at(mount, "name"));
    const paths = mounts.map((mount) => at(mount, "mountPath"));
    expect(new Set(paths).size).toBe(paths.length);
  }
  const agent = containers.find((container) => at(container, "name") === "coffer-agent");
  const config = agentConfigSchema.parse(parseJson(String(at(agent ?? null, "env", 0, "value")).replaceAll("$$", "$")));
  const sources = config.sources.map(({ name }) => name);
  expect(new Set(sources).size).toBe(sources.length);
  for (const file of config.files) {
    expect(file.path).toMatch(/^\/coffer\/volumes\/coffer-secrets/);
    expect(file.path.split("/")).not.toContain("..");
    if (file.format !== "Template") expect(sources).toContain(file.source);
  }
}

describe("any annotations", () => {
  it("give a consistent pod that a second call leaves alone, or a sentence", () => {
    const own = fc.constantFrom<JsonObject[]>(
      [],
      [{ name: "setup", image: "x" }],
      [{ name: "istio-init", image: "x" }],
    );
    let injected = 0;
    fc.assert(
      fc.property(annotations, own, (given, initContainers) => {
        const json = annotatedPod(given, initContainers);
        const mutation = mutate(json, around, settings);
        expect(mutate(json, around, settings)).toEqual(mutation);
        if (mutation.kind === "denied") {
          expect(mutation.code).not.toBe("internal");
          expect(mutation.message).toMatch(/vault\.hashicorp\.com\/|annotations of/);
          return;
        }
        if (mutation.patch.length === 0) return;
        injected++;
        const out = applied(json, mutation.patch);
        expectConsistent(out);
        expect(mutate(out, around, settings)).toEqual({ kind: "allowed", patch: [], warnings: [] });
      }),
      { numRuns: 300 },
    );
    expect(injected).toBeGreaterThan(15);
  });
});
