import { describe, expect, it } from "vitest";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { customResourceDefinition } from "./crd.ts";
import { durationSeconds } from "./duration.ts";
import { matchesSelector } from "./references.ts";
import { definitions } from "./registry.ts";
import { readResource } from "./resource.ts";
import { secretBinding, sourcesOf } from "./secret-binding.ts";
import { unsealConfig } from "./unseal-config.ts";
import { vaultCluster } from "./vault-cluster.ts";
import { resolveVault } from "./vault-ref.ts";

const metadata = { name: "main", namespace: "coffer-system" };

/** Every schema below a value, with where it is. */
function schemasIn(value: JsonValue, path: string): readonly { path: string; schema: JsonObject }[] {
  if (isJsonArray(value)) return value.flatMap((item, i) => schemasIn(item, `${path}[${i}]`));
  if (!isJsonObject(value)) return [];
  const own = typeof value["type"] === "string" ? [{ path, schema: value }] : [];
  return [...own, ...Object.entries(value).flatMap(([name, inner]) => schemasIn(inner, `${path}.${name}`))];
}

describe("every CRD", () => {
  for (const definition of definitions) {
    const fields = [...schemasIn(definition.spec.openapi, "spec"), ...schemasIn(definition.status.openapi, "status")];

    it(`${definition.kind}: every string, list and map has a limit`, () => {
      const unlimited = fields.filter(({ schema }) => {
        if (schema["type"] === "string") return schema["maxLength"] === undefined && schema["enum"] === undefined;
        if (schema["type"] === "array") return schema["maxItems"] === undefined;
        return schema["additionalProperties"] !== undefined && schema["maxProperties"] === undefined;
      });
      // An alternative of a quantity: the limit is beside the alternatives.
      expect(unlimited.map(({ path }) => path).filter((path) => !path.includes(".anyOf["))).toEqual([]);
    });

    it(`${definition.kind}: every field is described, and every rule ends in no full stop and names no code`, () => {
      const bare = fields.filter(
        ({ path, schema }) => schema["description"] === undefined && !path.includes(".anyOf["),
      );
      expect(bare.map(({ path }) => path)).toEqual([]);
      for (const { schema } of fields) {
        const rules = isJsonArray(schema["x-kubernetes-validations"]) ? schema["x-kubernetes-validations"] : [];
        for (const rule of rules) expect(isJsonObject(rule) && rule["message"]).toMatch(/^[a-z].{20,}[^.]$/);
      }
    });

    it(`${definition.kind}: the example is under ten lines`, () => {
      expect(definition.example.trimEnd().split("\n").length).toBeLessThan(10);
    });

    it(`${definition.kind}: names, columns and status are there`, () => {
      const text = JSON.stringify(customResourceDefinition(definition));
      const crd = parseJson(text);
      expect(crd).toMatchObject({
        metadata: { name: `${definition.plural}.coffer.dev` },
        spec: { names: { categories: ["coffer"], shortNames: [definition.shortName] } },
      });
      expect(text).toContain('"subresources":{"status":{}');
    });
  }
});

describe("reading resources", () => {
  it("fills in the defaults of a short VaultCluster", () => {
    const { spec } = readResource(vaultCluster, { metadata, spec: { unsealConfigRef: { name: "kms" } } });
    expect(spec).toMatchObject({
      replicas: 1,
      storage: { size: "1Gi", etcd: { members: 3 } },
      tls: { duration: "2160h", renewBefore: "720h" },
      access: { rules: [{ namespaceSelector: { matchLabels: {} }, paths: ["secret/{namespace}/*"] }] },
      deletionPolicy: "Retain",
      suspend: false,
    });
  });

  it("takes a binding's one path as its only source", () => {
    const { spec } = readResource(secretBinding, { metadata, spec: { path: "secret/a", files: [{ path: "a" }] } });
    expect(sourcesOf(spec)).toEqual([{ name: "default", path: "secret/a", version: 0, optional: false }]);
    expect(spec.files).toEqual([{ path: "a", format: "JSON", mode: "0440" }]);
  });

  it("names the member that does not fit", () => {
    expect(() => readResource(unsealConfig, { metadata, spec: { awsKms: { region: "eu-west-1" } } })).toThrow(
      "spec.awsKms.keyId must be a string",
    );
  });
});

describe("resolveVault", () => {
  const cluster = (name: string, isDefault = false) =>
    readResource(vaultCluster, {
      metadata: { name, namespace: "coffer-system" },
      spec: { unsealConfigRef: { name: "kms" }, default: isDefault },
    });
  const binding = (vaultRef?: JsonObject) =>
    readResource(secretBinding, { metadata, spec: { path: "secret/a", ...(vaultRef ? { vaultRef } : {}) } });
  const resolved = (...args: Parameters<typeof resolveVault>) => {
    const answer = resolveVault(...args);
    return answer.kind === "found" ? answer.cluster.metadata.name : answer.reason;
  };

  it("takes the one that is named, the default one, or the only one", () => {
    expect(resolved(binding({ name: "b", namespace: "coffer-system" }), [cluster("a", true), cluster("b")])).toBe("b");
    expect(resolved(binding(), [cluster("a"), cluster("b", true)])).toBe("b");
    expect(resolved(binding(), [cluster("a")])).toBe("a");
  });

  it("looks past those that no operator runs", () => {
    const stray = readResource(vaultCluster, {
      metadata: { name: "stray", namespace: "elsewhere" },
      spec: { unsealConfigRef: { name: "kms" }, default: true },
      status: {
        conditions: [
          {
            ...{ type: "Stalled", status: "True", reason: "NamespaceNotManaged", message: "not here" },
            lastTransitionTime: "2026-01-01T00:00:00Z",
          },
        ],
      },
    });
    expect(resolved(binding(), [stray, cluster("a")])).toBe("a");
    expect(resolved(binding(), [stray])).toBe("VaultNotFound");
  });

  it("says why there is none", () => {
    expect(resolved(binding(), [])).toBe("VaultNotFound");
    expect(resolved(binding({ name: "a", namespace: "elsewhere" }), [cluster("a")])).toBe("VaultNotFound");
    expect(resolved(binding(), [cluster("a"), cluster("b")])).toBe("VaultAmbiguous");
    expect(resolved(binding(), [cluster("a", true), cluster("b", true)])).toBe("VaultAmbiguous");
  });
});

describe("durations", () => {
  it.each([
    ["0s", 0],
    ["90s", 90],
    ["1h30m", 5400],
  ])("%s is %d seconds", (text, seconds) => {
    expect(durationSeconds(text)).toBe(seconds);
  });

  it.each(["", "5", "m", "1d", "-1s", "1 m"])("%j is none", (text) => {
    expect(() => durationSeconds(text)).toThrow("write the duration");
  });
});

describe("selectors", () => {
  const labels = { app: "web", tier: "a" };
  const one = (key: string, operator: "In" | "NotIn" | "Exists" | "DoesNotExist", values?: readonly string[]) =>
    matchesSelector({ matchLabels: {}, matchExpressions: [{ key, operator, values }] }, labels);

  it("match by equality, and an empty one matches all", () => {
    expect(matchesSelector({ matchLabels: {} }, {})).toBe(true);
    expect(matchesSelector({ matchLabels: { app: "web" } }, labels)).toBe(true);
    expect(matchesSelector({ matchLabels: { app: "web", x: "y" } }, labels)).toBe(false);
  });

  it("match by expressions", () => {
    expect([one("app", "In", ["web"]), one("app", "In", ["api"]), one("x", "In", ["y"])]).toEqual([true, false, false]);
    expect([one("app", "NotIn", ["web"]), one("x", "NotIn", ["y"])]).toEqual([false, true]);
    expect([one("app", "Exists"), one("x", "Exists"), one("x", "DoesNotExist")]).toEqual([true, false, true]);
    expect(one("toString", "Exists")).toBe(false);
  });
});
