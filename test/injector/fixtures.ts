// Pods, bindings and a cluster for the injector's tests, short where a manifest is short: the defaults are the CRD's.
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import type { Surroundings } from "#injector/match.ts";
import type { PatchOperation } from "#injector/patch.ts";
import type { InjectorSettings } from "#injector/settings.ts";
import { readResource } from "#operator/api/resource.ts";
import { type SecretBinding, secretBinding } from "#operator/api/secret-binding.ts";
import { type VaultCluster, vaultCluster } from "#operator/api/vault-cluster.ts";

export const settings: InjectorSettings = {
  image: "coffer/coffer:test",
  imagePullPolicy: "IfNotPresent",
  fileKeyRef: true,
};

function condition(type: string, status: string, reason: string, message: string): JsonObject {
  return { type, status, reason, message, lastTransitionTime: "2026-01-01T00:00:00Z", observedGeneration: 1 };
}

export const accepted: JsonObject = { conditions: [condition("Synced", "True", "Synced", "")] };
export const refused: JsonObject = {
  conditions: [
    condition("Synced", "False", "PathNotAllowed", "no"),
    condition("Stalled", "True", "PathNotAllowed", "secret/other/db is not allowed to namespace team"),
  ],
};
export const waiting: JsonObject = {
  conditions: [condition("Synced", "False", "VaultNotReady", "VaultCluster coffer-system/main is sealed")],
};

export function binding(name: string, spec: JsonObject, status: JsonObject | null = accepted): SecretBinding {
  const short = { path: `secret/team/${name}`, ...("sources" in spec ? { path: null } : {}) };
  return readResource(secretBinding, { metadata: { name, namespace: "team" }, spec: { ...short, ...spec }, status });
}

export function cluster(name = "main", status: JsonObject = {}, spec: JsonObject = {}): VaultCluster {
  const running = { address: `https://${name}.coffer-system.svc:8200`, caBundle: `${name}-ca` };
  return readResource(vaultCluster, {
    metadata: { name, namespace: "coffer-system" },
    spec: { unsealConfigRef: { name: "kms" }, ...spec },
    status: { ...running, ...status },
  });
}

export function surroundings(bindings: readonly SecretBinding[], clusters = [cluster()]): Surroundings {
  return { namespace: "team", bindings, clusters };
}

export const web: JsonObject = { name: "web", image: "web:1", command: ["/bin/web"], args: ["--port=80"] };

/** A pod with the label; `spec` replaces members of a spec with the one container `web`. */
export function pod(spec: JsonObject = {}, metadata: JsonObject = {}): JsonObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { labels: { app: "web", "coffer.dev/inject": "true" }, ...metadata },
    spec: { serviceAccountName: "web", containers: [web], ...spec },
  };
}

/** What the API server makes of the operations that `mutate` gives: they only ever add members of objects. */
export function applied(target: JsonObject, patch: readonly PatchOperation[]): JsonObject {
  return patch.reduce((object, { path, value }) => put(object, path.split("/").slice(1), value), target);
}

function put(object: JsonObject, [name = "", ...below]: readonly string[], value: JsonValue): JsonObject {
  if (below.length === 0) return { ...object, [name]: value };
  const inner = object[name];
  if (!isJsonObject(inner)) throw new Error(`the patch adds to ${name}, which is not there`);
  return { ...object, [name]: put(inner, below, value) };
}

/** The value at a path of member names and indices, or undefined. */
export function at(value: JsonValue | undefined, ...path: readonly (string | number)[]): JsonValue | undefined {
  return path.reduce<JsonValue | undefined>((inner, step) => {
    if (typeof step === "number") return isJsonArray(inner) ? inner[step] : undefined;
    return isJsonObject(inner) ? inner[step] : undefined;
  }, value);
}
