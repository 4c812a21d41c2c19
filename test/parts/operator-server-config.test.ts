// The configuration that the operator writes, read by the server that it is for: each storage, with what the pod's
// environment and files add.
import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { serverConfig } from "#operator/controllers/vault-cluster/server-config.ts";
import { parseServerConfig } from "#server/config/server-config.ts";
import { parseEtcdOptions } from "#server/storage/etcd/options.ts";
import { parsePostgresOptions } from "#server/storage/postgres/connect-options.ts";
import { cluster, kms } from "#test/operator/fixtures.ts";

const OPERATOR = { namespace: "coffer-system", serviceAccount: "coffer-operator" };

/** As the server reads it. */
function storageOf(storage: JsonObject, keys: readonly string[] = []) {
  const config = serverConfig(cluster({ spec: { replicas: 3, storage } }), kms(), OPERATOR, keys);
  return parseServerConfig([{ name: "coffer.json", text: JSON.stringify(config) }]).storage;
}

describe("the operator's configuration of servers", () => {
  it("names the etcd that the operator runs, by its certificates", () => {
    const { type, config } = storageOf({});
    expect(type).toBe("etcd");
    const tls = { ca: "/coffer/etcd/ca.crt", cert: "/coffer/etcd/tls.crt", key: "/coffer/etcd/tls.key" };
    expect(parseEtcdOptions(config, {})).toMatchObject({
      ...{ addresses: ["https://main-etcd-client.coffer-system.svc:2379"], sync: true, path: "coffer/", tls },
      quotaBytes: 429_496_729,
    });
  });

  it("names somebody else's etcd, with the user from the environment", () => {
    const external = { endpoints: ["https://a:2379", "https://b:2379"], secretRef: { name: "mine" }, path: "x" };
    const { type, config } = storageOf({ etcd: { external } }, ["ca.crt", "username", "password"]);
    expect(type).toBe("etcd");
    const environment = { ETCD_USERNAME: "coffer", ETCD_PASSWORD: "secret" };
    expect(parseEtcdOptions(config, environment)).toMatchObject({
      ...{ addresses: ["https://a:2379", "https://b:2379"], path: "x/", tls: { ca: "/coffer/etcd/ca.crt" } },
      credentials: { username: "coffer", password: "secret" },
    });
  });

  it("leaves PostgreSQL's URL to the environment", () => {
    const { type, config } = storageOf({ type: "postgres", postgres: { secretRef: { name: "db-app" } } }, ["uri"]);
    expect(type).toBe("postgres");
    const url = "postgres://coffer:secret@db/coffer?sslmode=require";
    const options = parsePostgresOptions(config, { VAULT_PG_CONNECTION_URL: url });
    expect(JSON.stringify(options)).toContain('"db"');
  });

  it("has the volume for one server", () => {
    const config = serverConfig(cluster(), kms(), OPERATOR);
    const { storage } = parseServerConfig([{ name: "coffer.json", text: JSON.stringify(config) }]);
    expect(storage).toMatchObject({ type: "lmdb", config: { path: "/coffer/data" } });
  });

  const snapshotsOf = (spec: JsonObject) => {
    const config = serverConfig(cluster({ spec }), kms(), OPERATOR);
    return parseServerConfig([{ name: "coffer.json", text: JSON.stringify(config) }]).snapshots;
  };

  it("takes no snapshots unless it is told to", () => {
    expect(snapshotsOf({})).toBeUndefined();
  });

  it("keeps snapshots in a bucket, below the cluster's own name", () => {
    expect(snapshotsOf({ backup: { s3: { bucket: "backups", region: "eu-west-1" } } })).toEqual({
      ...{ intervalMillis: 3_600_000, retain: 48, verifyMillis: 86_400_000, directory: undefined },
      ...{ bucket: "backups", prefix: "coffer-system/main/", region: "eu-west-1", endpoint: undefined },
    });
  });

  it("keeps them as often and where the spec says", () => {
    const s3 = { bucket: "b-1", prefix: "here/", endpoint: "https://minio.example:9000" };
    expect(snapshotsOf({ backup: { interval: "1h30m", retain: 3, verifyInterval: "0s", s3 } })).toMatchObject({
      ...{ intervalMillis: 5_400_000, retain: 3, verifyMillis: 0 },
      ...{ bucket: "b-1", prefix: "here/", endpoint: "https://minio.example:9000" },
    });
  });
});
