// The three resources of the story: the README's own blocks where it has them, else the reference pages' examples. Only
// what belongs to the place is added: where the KMS is and its credentials, who administers, and a shorter interval.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { secretBinding } from "#operator/api/secret-binding.ts";
import { unsealConfig } from "#operator/api/unseal-config.ts";
import { vaultCluster } from "#operator/api/vault-cluster.ts";
import { KMS_CREDENTIALS, KMS_ENDPOINT, KMS_REGION } from "./kms.ts";
import { at, textAt } from "./objects.ts";

const README = join(import.meta.dirname, "../../../README.md");
/** What the README promises of each resource. */
export const LINES_MAX = 9;

export interface Manifest {
  readonly kind: string;
  /** As it stands in the documents. */
  readonly text: string;
  readonly object: JsonObject;
}

/** UnsealConfig, VaultCluster and SecretBinding as the documents have them. */
export function documentedManifests(): readonly Manifest[] {
  const inReadme = [...readFileSync(README, "utf8").matchAll(/^(?:```yaml|.*<<'?YAML'?)\n(.*?)^(?:```|YAML)$/gms)]
    .flatMap(([, block = ""]) => block.split(/^---\n/m))
    .map(manifestOf);
  return [unsealConfig, vaultCluster, secretBinding].map(
    ({ kind, example }) => inReadme.find((manifest) => manifest?.kind === kind) ?? required(manifestOf(example), kind),
  );
}

function manifestOf(text: string): Manifest | undefined {
  const [document] = parseAllDocuments(text);
  if (document === undefined || !("toJS" in document)) return undefined;
  const object = parseJson(JSON.stringify(document.toJS()) ?? "null");
  return isJsonObject(object) ? { kind: textAt(object, "kind"), text: text.trimEnd(), object } : undefined;
}

function required(manifest: Manifest | undefined, kind: string): Manifest {
  if (manifest === undefined) throw new Error(`the example of ${kind} is no object`);
  return manifest;
}

/** The Secret with the credentials of the KMS: the only one that the story writes. */
export const CREDENTIALS_SECRET = "kms-credentials";

export function credentialsSecret(namespace: string): JsonObject {
  const { accessKeyId, secretAccessKey } = KMS_CREDENTIALS;
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: CREDENTIALS_SECRET, namespace },
    stringData: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
  };
}

/** The manifest with what the place needs. */
export function adapted({ kind, object }: Manifest, admin: JsonObject): JsonObject {
  const spec = objectOf(at(object, "spec"));
  if (kind === "UnsealConfig")
    return { ...object, spec: { ...spec, awsKms: atResponder(objectOf(at(spec, "awsKms"))) } };
  if (kind === "VaultCluster")
    return { ...object, spec: { ...spec, access: { admins: [admin], ...objectOf(spec["access"]) } } };
  return { ...object, spec: { ...spec, refreshInterval: "10s" } };
}

/** A key of the responder, by the address and with the credentials that are good there. */
export function atResponder(awsKms: JsonObject): JsonObject {
  const credentials = { secretRef: { name: CREDENTIALS_SECRET } };
  return { ...awsKms, region: KMS_REGION, endpoint: KMS_ENDPOINT, credentials };
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}
