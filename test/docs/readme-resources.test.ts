import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { tokenAudience } from "#common/binding-names.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { customResourceDefinition } from "#operator/api/crd.ts";
import { definitions } from "#operator/api/registry.ts";
import { API_VERSION, type Definition, readResource } from "#operator/api/resource.ts";
import { vaultCluster } from "#operator/api/vault-cluster.ts";
import { caBundleName, OPERATOR_AUTH_MOUNT, serviceHost } from "#operator/cluster-names.ts";
import { adminRoleName } from "#operator/controllers/vault-cluster/bootstrap.ts";
import { blocks, documentAt } from "./markdown.ts";
import { violations } from "./structural-schema.ts";

/** Fewer than this: a person should be able to learn them by heart. */
const LINES_BELOW = 10;

const resources = blocks(documentAt("README.md"), "yaml").map((text) => ({ text, value: resourceIn(text) }));

function resourceIn(text: string): JsonObject {
  const value = parseJson(JSON.stringify(parse(text)));
  if (!isJsonObject(value)) throw new Error("a resource is an object");
  return value;
}

function definitionOf(value: JsonObject): Definition<unknown, unknown> {
  const definition = definitions.find(({ kind }) => kind === value["kind"]);
  if (!definition) throw new Error(`there is no kind ${String(value["kind"])}`);
  return definition;
}

/** The schema in the CRD itself, as the API server gets it. */
function schemaOf(definition: Definition<unknown, unknown>): JsonValue | undefined {
  const crd = parseJson(JSON.stringify(customResourceDefinition(definition)));
  const spec = isJsonObject(crd) ? crd["spec"] : undefined;
  const versions = isJsonObject(spec) ? spec["versions"] : undefined;
  const [version] = isJsonArray(versions) ? versions : [];
  const schema = isJsonObject(version) ? version["schema"] : undefined;
  return isJsonObject(schema) ? schema["openAPIV3Schema"] : undefined;
}

describe("the README's resources", () => {
  it("are one of each kind", () => {
    const kinds = resources.map(({ value }) => String(value["kind"])).sort();
    expect(kinds).toEqual(definitions.map(({ kind }) => kind).sort());
  });

  it.each(resources)("fit the schema in under ten lines: $value.kind", ({ text, value }) => {
    const definition = definitionOf(value);
    expect(value["apiVersion"]).toBe(API_VERSION);
    expect(violations(schemaOf(definition), value)).toEqual([]);
    expect(() => readResource(definition, value)).not.toThrow();
    expect(text.trimEnd().split("\n").length).toBeLessThan(LINES_BELOW);
  });

  it("name one another", () => {
    const of = (kind: string) => resources.find(({ value }) => value["kind"] === kind)?.value;
    const unseal = of("UnsealConfig");
    expect(of("VaultCluster")).toMatchObject({
      metadata: { namespace: isJsonObject(unseal?.["metadata"]) ? unseal["metadata"]["namespace"] : "" },
      spec: { unsealConfigRef: { name: isJsonObject(unseal?.["metadata"]) ? unseal["metadata"]["name"] : "" } },
    });
  });
});

describe("the README's administrator", () => {
  const { text } = documentAt("README.md");
  const found = resources.find(({ value }) => value["kind"] === vaultCluster.kind)?.value ?? {};
  const cluster = readResource(vaultCluster, found);

  it("uses the names that the operator gives", () => {
    const [admin] = cluster.spec.access.admins;
    expect(admin && text.includes(`role=${adminRoleName(admin)} `)).toBe(true);
    expect(text).toContain(`auth/${OPERATOR_AUTH_MOUNT}/login`);
    expect(text).toContain(`--audience ${tokenAudience(cluster.metadata)})`);
    expect(text).toContain(`get configmap ${caBundleName(cluster)} `);
    expect(text).toContain(`VAULT_TLS_SERVER_NAME=${serviceHost(cluster)}\n`);
  });
});

describe("the structural schema", () => {
  const [resource] = resources;
  const check = (change: JsonObject) =>
    resource ? violations(schemaOf(definitionOf(resource.value)), { ...resource.value, ...change }) : [];

  it("refuses members that nobody knows, missing ones and wrong types", () => {
    expect(check({ spec: { awskms: {} } })).toEqual([".spec.awskms: is not in the schema"]);
    expect(check({ spec: { awsKms: {} } })).toEqual([".spec.awsKms.keyId: is required"]);
    expect(check({ spec: { awsKms: { keyId: 1 } } })).toEqual([".spec.awsKms.keyId: must be of type string"]);
    expect(check({ spec: { awsKms: { keyId: "" } } })).toEqual([".spec.awsKms.keyId: has 0 characters"]);
  });
});
