// The configuration of a cluster's servers: JSON in the shape that `coffer server -config` reads. It holds no secret:
// credentials reach the pod as environment variables or files.
import { createHash } from "node:crypto";
import { encodeSorted, type JsonObject } from "#common/json.ts";
import type { UnsealConfig } from "../../api/unseal-config.ts";
import type { VaultCluster } from "../../api/vault-cluster.ts";
import { SERVER_PORT, serverAddress, titleOf } from "../../cluster-names.ts";
import { PIN_KEY, STATIC_KEY } from "../../unseal-secret.ts";
import { bootstrapRequests, type OperatorIdentity } from "./bootstrap.ts";
import { storageStanza } from "./server-storage.ts";

export const CONFIG_FILE = "coffer.json";
export const CONFIG_DIRECTORY = "/coffer/config";
export const TLS_DIRECTORY = "/coffer/tls";
export const UNSEAL_DIRECTORY = "/coffer/unseal";

/** The whole configuration. `storageKeys` are the keys of the Secret for the storage. */
export function serverConfig(
  cluster: VaultCluster,
  unseal: UnsealConfig,
  operator: OperatorIdentity,
  storageKeys: readonly string[] = [],
): JsonObject {
  const requests = bootstrapRequests(cluster, operator).map(([name, request]) => ({ [name]: request }));
  return { ...lastingConfig(cluster, unseal, storageKeys), bootstrap: { request: requests } };
}

/** Of the part that running servers have to be restarted for; the bootstrap matters only to fresh ones. */
export function configHash(cluster: VaultCluster, unseal: UnsealConfig, storageKeys: readonly string[]): string {
  return createHash("sha256")
    .update(encodeSorted(lastingConfig(cluster, unseal, storageKeys)))
    .digest("hex")
    .slice(0, 32);
}

function lastingConfig(cluster: VaultCluster, unseal: UnsealConfig, storageKeys: readonly string[]): JsonObject {
  const listener = {
    address: `0.0.0.0:${SERVER_PORT}`,
    tls_cert_file: `${TLS_DIRECTORY}/tls.crt`,
    tls_key_file: `${TLS_DIRECTORY}/tls.key`,
  };
  const audit = { file: { stdout: { description: "the container's output", options: { file_path: "stdout" } } } };
  return {
    // Bound to what the seal wraps, so it is made of what never changes; a cluster made anew over the old volume has it.
    cluster_name: titleOf(cluster),
    api_addr: serverAddress(cluster),
    log_format: "json",
    storage: storageStanza(cluster, storageKeys),
    listener: { tcp: listener },
    seal: sealOf(unseal),
    ...(cluster.spec.audit.stdout ? { audit } : {}),
    ...snapshotsStanza(cluster),
  };
}

/** The server does the rest: one snapshot for each interval among all pods, trials, removal. */
function snapshotsStanza({ metadata, spec: { backup } }: VaultCluster): JsonObject {
  if (backup === undefined) return {};
  const { bucket, prefix, region, endpoint } = backup.s3;
  return {
    snapshots: {
      interval: backup.interval,
      retain: backup.retain,
      verify_interval: backup.verifyInterval,
      s3_bucket: bucket,
      // Two clusters with one bucket must not remove each other's snapshots.
      s3_prefix: prefix ?? `${metadata.namespace}/${metadata.name}/`,
      ...(region === undefined ? {} : { s3_region: region }),
      ...(endpoint === undefined ? {} : { s3_endpoint: endpoint }),
    },
  };
}

function sealOf({ spec: { awsKms, pkcs11 } }: UnsealConfig): JsonObject {
  if (pkcs11 !== undefined) return { pkcs11: pkcs11Stanza(pkcs11) };
  if (awsKms === undefined) return { static: { current_key: `file://${UNSEAL_DIRECTORY}/${STATIC_KEY}` } };
  const region = awsKms.region ?? regionOf(awsKms.keyId);
  return {
    awskms: {
      kms_key_id: awsKms.keyId,
      ...(region === undefined ? {} : { region }),
      ...(awsKms.endpoint === undefined ? {} : { endpoint: awsKms.endpoint }),
      ...(awsKms.roleArn === undefined ? {} : { role_arn: awsKms.roleArn }),
      ...(awsKms.externalId === undefined ? {} : { external_id: awsKms.externalId }),
      ...(awsKms.encryptionContext === undefined ? {} : { encryption_context: awsKms.encryptionContext }),
    },
  };
}

function pkcs11Stanza(spec: NonNullable<UnsealConfig["spec"]["pkcs11"]>): JsonObject {
  const { cloudHsm } = spec;
  return {
    ...{ lib: spec.library, key_label: spec.keyLabel, generate_key: spec.generateKey },
    pin_file: `${UNSEAL_DIRECTORY}/${PIN_KEY}`,
    ...(spec.tokenLabel === undefined ? {} : { token_label: spec.tokenLabel }),
    ...(spec.slot === undefined ? {} : { slot: spec.slot }),
    ...(spec.mechanism === undefined ? {} : { mechanism: spec.mechanism }),
    ...(cloudHsm === undefined ? {} : { cloudhsm: cloudHsmBlock(cloudHsm) }),
  };
}

type CloudHsm = NonNullable<NonNullable<UnsealConfig["spec"]["pkcs11"]>["cloudHsm"]>;

function cloudHsmBlock({ clusterId, region, endpoint, roleArn, backupMaxAge }: CloudHsm): JsonObject {
  return {
    ...{ cluster_id: clusterId, region },
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(roleArn === undefined ? {} : { role_arn: roleArn }),
    ...(backupMaxAge === undefined ? {} : { backup_max_age: backupMaxAge }),
  };
}

/** arn:aws:kms:REGION:ACCOUNT:key/ID */
function regionOf(keyId: string): string | undefined {
  const parts = keyId.split(":");
  return parts[0] === "arn" ? parts[3] : undefined;
}
