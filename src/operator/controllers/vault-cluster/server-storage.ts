// How servers reach their storage: the stanza of the configuration, and what of Secrets reaches the pod for it. No secret
// is in the stanza: passwords are environment variables, certificates files.
import type { JsonObject, JsonValue } from "#common/json.ts";
import { runsEtcd, storageTypeOf, type VaultCluster } from "../../api/vault-cluster.ts";
import { etcdAddress, etcdClientTlsName } from "./etcd/etcd-names.ts";
import { quotaBytes } from "./etcd/quota.ts";

export const DATA_DIRECTORY = "/coffer/data";
const ETCD_DIRECTORY = "/coffer/etcd";
const POSTGRES_DIRECTORY = "/coffer/postgres";
const ETCD_PATH = "coffer";

/** The configuration's `storage`. `secretKeys` are those of the Secret that the spec names. */
export function storageStanza(cluster: VaultCluster, secretKeys: readonly string[]): JsonObject {
  const type = storageTypeOf(cluster.spec);
  if (type === "embedded") return { lmdb: { path: DATA_DIRECTORY } };
  // The connection URL is in the environment.
  if (type === "postgres") return { postgres: {} };
  const { external } = cluster.spec.storage.etcd;
  if (external === undefined) {
    const tls = etcdTls(["ca.crt", "tls.crt", "tls.key"]);
    return {
      etcd: { address: etcdAddress(cluster), path: ETCD_PATH, ...tls, quota_backend_bytes: quotaBytes(cluster) },
    };
  }
  return { etcd: { address: external.endpoints.join(","), path: external.path, ...etcdTls(secretKeys) } };
}

function etcdTls(keys: readonly string[]): JsonObject {
  const file = (name: string, key: string) => (keys.includes(key) ? { [name]: `${ETCD_DIRECTORY}/${key}` } : {});
  return { ...file("tls_ca_file", "ca.crt"), ...file("tls_cert_file", "tls.crt"), ...file("tls_key_file", "tls.key") };
}

/** The Secret that the spec names for the storage, with the keys that it must have. */
export function storageSecret({ spec }: VaultCluster): { name: string; keys: readonly string[] } | undefined {
  const { etcd, postgres } = spec.storage;
  const type = storageTypeOf(spec);
  if (type === "postgres" && postgres !== undefined) return { name: postgres.secretRef.name, keys: [postgres.key] };
  const ref = type === "etcd" ? etcd.external?.secretRef : undefined;
  return ref && { name: ref.name, keys: [] };
}

/** Environment variables, volumes and mounts for the storage, apart from a volume of the server's own. */
export function storageAccess(cluster: VaultCluster): {
  readonly env: readonly JsonValue[];
  readonly volumes: readonly JsonValue[];
  readonly mounts: readonly JsonValue[];
} {
  const secret = runsEtcd(cluster) ? etcdClientTlsName(cluster) : storageSecret(cluster)?.name;
  if (secret === undefined) return { env: [], volumes: [], mounts: [] };
  const isPostgres = storageTypeOf(cluster.spec) === "postgres";
  const mountPath = isPostgres ? POSTGRES_DIRECTORY : ETCD_DIRECTORY;
  return {
    env: runsEtcd(cluster) ? [] : environment(cluster, secret),
    volumes: [{ name: "storage", secret: { secretName: secret } }],
    mounts: [{ name: "storage", mountPath, readOnly: true }],
  };
}

function environment({ spec }: VaultCluster, secret: string): readonly JsonValue[] {
  const from = (name: string, key: string, optional: boolean) => ({
    name,
    valueFrom: { secretKeyRef: { name: secret, key, ...(optional ? { optional } : {}) } },
  });
  const { postgres } = spec.storage;
  if (postgres !== undefined) return [from("VAULT_PG_CONNECTION_URL", postgres.key, false)];
  return [from("ETCD_USERNAME", "username", true), from("ETCD_PASSWORD", "password", true)];
}
