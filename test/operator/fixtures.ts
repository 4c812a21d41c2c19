// Objects for tests of the operator, as the API server gives them, defaults filled in.
import type { JsonObject } from "#common/json.ts";
import { readResource } from "#operator/api/resource.ts";
import { type SecretBinding, secretBinding } from "#operator/api/secret-binding.ts";
import { type UnsealConfig, unsealConfig } from "#operator/api/unseal-config.ts";
import { type VaultCluster, vaultCluster } from "#operator/api/vault-cluster.ts";
import type { decide, Observed } from "#operator/controllers/vault-cluster/decide.ts";
import type { MemberProbe, SealTrouble } from "#operator/servers/probe.ts";
import type { OperatorSettings } from "#operator/settings.ts";
import { at } from "#test/injector/fixtures.ts";

export const NOW = Date.UTC(2026, 0, 1);
export const LOOK = { now: NOW, generation: 1 };

export const SETTINGS: OperatorSettings = {
  namespace: "coffer-system",
  podName: "operator-1",
  serviceAccount: "coffer-operator",
  image: "coffer/coffer:test",
  etcdImage: "etcd:test",
  imagePullPolicy: "IfNotPresent",
  imagePullSecrets: [],
  clusterNamespaces: ["coffer-system"],
  secretNamespaces: ["team"],
  leaseName: "coffer-operator",
  healthHost: "127.0.0.1",
  healthPort: 0,
  logLevel: "error",
  logFormat: "json",
  kubeconfig: undefined,
};

interface Parts {
  readonly name?: string;
  readonly namespace?: string;
  readonly spec?: JsonObject;
  readonly status?: JsonObject;
  readonly metadata?: JsonObject;
}

function envelope({ name, namespace, spec = {}, status, metadata = {} }: Parts): JsonObject {
  const meta = { name: name ?? "main", namespace: namespace ?? "coffer-system", uid: "u1", generation: 1, ...metadata };
  return { metadata: meta, spec, ...(status === undefined ? {} : { status }) };
}

export function cluster(parts: Parts = {}): VaultCluster {
  return readResource(vaultCluster, envelope({ ...parts, spec: { unsealConfigRef: { name: "kms" }, ...parts.spec } }));
}

export function kms(parts: Parts = {}): UnsealConfig {
  const spec = parts.spec ?? { awsKms: { keyId: "alias/coffer", region: "eu-west-1" } };
  return readResource(unsealConfig, envelope({ name: "kms", ...parts, spec }));
}

export function binding(parts: Parts = {}): SecretBinding {
  const spec = { path: "secret/team/db", files: [{ path: "db.json" }], ...parts.spec };
  return readResource(secretBinding, envelope({ name: "db", namespace: "team", ...parts, spec }));
}

/** A server pod that answered. */
export function answered(
  state: { initialized?: boolean; sealed?: boolean; troubles?: readonly SealTrouble[] } = {},
): MemberProbe {
  const { initialized = true, sealed = false, troubles = [] } = state;
  return { pod: "main-0", answer: { kind: "answered", initialized, sealed, version: "1.0", troubles, tookMillis: 1 } };
}

export function silent(reason: string): MemberProbe {
  return { pod: "main-0", answer: { kind: "silent", reason } };
}

export const KEY_DISABLED: SealTrouble = {
  seal: "awskms",
  reason: "KeyDisabled",
  message: "KMS key alias/coffer is disabled: enable it",
  since: "2026-01-01T00:00:00.000Z",
};

/** What the controller sees of a cluster whose one server serves, all as it was written down. */
export function observed(parts: Partial<Observed> = {}): Observed {
  return {
    cluster: cluster(),
    isManaged: true,
    unseal: kms(),
    secret: undefined,
    certificate: { kind: "issued", notAfter: NOW + 1e9, caBundle: "CA" },
    templateSize: undefined,
    storageSecret: undefined,
    etcd: undefined,
    rollout: undefined,
    volumes: undefined,
    pods: [{ name: "main-0", trouble: undefined, isFailing: false }],
    members: [answered()],
    boundary: { kind: "same" },
    settings: SETTINGS,
    look: LOOK,
    ...parts,
  };
}

/** "Ready=False KeyDisabled", one for each condition. */
export function shown(conditions: readonly { type: string; status: string; reason: string }[]): readonly string[] {
  return conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`);
}

/** The object of a kind and name that a decision about a VaultCluster wants to be there. */
export function objectOf(decision: ReturnType<typeof decide>, kind: string, name = "main"): JsonObject | undefined {
  return decision.objects.find((one) => one.kind.kind === kind && at(one.object, "metadata", "name") === name)?.object;
}
