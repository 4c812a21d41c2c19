// Whatever pods and bindings come together: no secret of one container reaches another, a second pass changes nothing,
// and what the agent is told to write is what the containers look at.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AGENT_CONFIG_VARIABLE, agentConfigSchema } from "#common/agent-config.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { applied, at, binding, pod, settings, surroundings } from "#test/injector/fixtures.ts";
import { mutate } from "./mutate.ts";

const containerNames = ["a", "b", "c"];
const someContainers = fc.option(fc.subarray(containerNames, { minLength: 1 }), { nil: undefined });
const someBinding = fc.record({
  files: fc.subarray(["one", "two", "three/four"]),
  env: fc.subarray(["ONE", "TWO"]),
  containers: someContainers,
  mountPath: fc.constantFrom("/coffer/secrets", "/run/app"),
  refreshInterval: fc.constantFrom("0s", "10s", "1h"),
});
const somePod = fc.record({
  containers: fc.subarray(containerNames, { minLength: 1 }),
  init: fc.boolean(),
  fsGroup: fc.boolean(),
  fileKeyRef: fc.boolean(),
});

function listOf(value: JsonValue | undefined): readonly JsonValue[] {
  return isJsonArray(value) ? value : [];
}

function podOf(wanted: { containers: string[]; init: boolean; fsGroup: boolean }): JsonObject {
  return pod({
    containers: wanted.containers.map((name) => ({ name, image: "x", command: ["run"] })),
    ...(wanted.init ? { initContainers: [{ name: "setup", image: "x" }] } : {}),
    ...(wanted.fsGroup ? { securityContext: { fsGroup: 1 } } : {}),
  });
}

describe("any pod and any bindings", () => {
  it("come out consistent, or are refused with a sentence", () => {
    fc.assert(
      fc.property(somePod, fc.array(someBinding, { minLength: 1, maxLength: 3 }), (wanted, specs) => {
        const bindings = specs.map(({ containers, files, env, ...spec }, i) =>
          binding(`b${i}`, {
            ...spec,
            ...(containers ? { containers } : {}),
            files: files.map((path) => ({ path: `${path}-${i}` })),
            env: env.map((name) => ({ name: `${name}_${i}`, key: "k" })),
          }),
        );
        const json = podOf(wanted);
        const how = { ...settings, fileKeyRef: wanted.fileKeyRef };
        const mutation = mutate(json, surroundings(bindings), how);
        if (mutation.kind === "denied") {
          expect(mutation.message).toMatch(/names the container/);
          return;
        }
        const out = applied(json, mutation.patch);
        expect(mutate(out, surroundings(bindings), how)).toEqual({ kind: "allowed", patch: [], warnings: [] });
        expectMountsToHaveVolumes(out);
        for (const name of wanted.containers) expectOnlyOwn(out, name, specs);
      }),
      { numRuns: 300 },
    );
  });
});

function containersOf(out: JsonObject): readonly JsonValue[] {
  return [...listOf(at(out, "spec", "initContainers")), ...listOf(at(out, "spec", "containers"))];
}

function expectMountsToHaveVolumes(out: JsonObject): void {
  const names = listOf(at(out, "spec", "volumes")).map((volume) => at(volume, "name"));
  expect(new Set(names).size).toBe(names.length);
  for (const container of containersOf(out)) {
    for (const mount of listOf(at(container, "volumeMounts"))) expect(names).toContain(at(mount, "name"));
    for (const variable of listOf(at(container, "env"))) {
      const volume = at(variable, "valueFrom", "fileKeyRef", "volumeName");
      if (volume !== undefined) expect(names).toContain(volume);
    }
  }
}

/** The files in the volumes that a container mounts, and its variables, are exactly those of the bindings that name it. */
function expectOnlyOwn(
  out: JsonObject,
  name: string,
  specs: readonly { files: string[]; env: string[]; containers: string[] | undefined }[],
): void {
  const container = listOf(at(out, "spec", "containers")).find((c) => at(c, "name") === name);
  const agent = containersOf(out).find((c) => at(c, "name") === "coffer-agent");
  const variable = listOf(at(agent, "env")).find((v) => at(v, "name") === AGENT_CONFIG_VARIABLE);
  const config = agentConfigSchema.parse(parseJson(String(at(variable, "value"))));
  const volumes = listOf(at(container, "volumeMounts")).map((mount) => `/coffer/volumes/${String(at(mount, "name"))}/`);
  const seen = config.files.filter(({ path }) => volumes.some((volume) => path.startsWith(volume)));
  const own = specs.flatMap((spec, i) => ((spec.containers?.includes(name) ?? true) ? [{ ...spec, i }] : []));
  const leaf = (path: string) => path.split("/").slice(4).join("/");
  expect(seen.map(({ path }) => leaf(path)).sort()).toEqual(
    own.flatMap(({ files, i }) => files.map((f) => `${f}-${i}`)).sort(),
  );
  const byHelper = config.environments.filter(({ path }) => volumes.some((volume) => path.startsWith(volume)));
  const names = [
    ...listOf(at(container, "env"))
      .filter(isJsonObject)
      .map((v) => String(v["name"])),
    ...byHelper.flatMap((environment) => environment.variables.map((v) => v.name)),
  ];
  expect(names.sort()).toEqual(own.flatMap(({ env, i }) => env.map((e) => `${e}_${i}`)).sort());
}
