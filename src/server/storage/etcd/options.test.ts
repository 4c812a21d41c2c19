// The storage stanza of etcd: Vault's names, the environment, and what is refused.
import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { parseEtcdOptions } from "./options.ts";

describe("parseEtcdOptions", () => {
  it("has defaults for all of it", () => {
    expect(parseEtcdOptions({}, {})).toEqual({
      addresses: ["http://localhost:2379"],
      path: "coffer/",
      credentials: undefined,
      tls: { ca: undefined, cert: undefined, key: undefined },
      requestTimeoutMillis: 5_000,
      requestBytesMax: 1_572_864,
      sync: true,
      quotaBytes: 2 * 1024 ** 3,
      compactionMillis: 300_000,
    });
  });

  it("takes a stanza as Vault's, settings without effect among them", () => {
    const stanza = {
      address: "https://a:2379, https://b:2379/,https://a:2379",
      path: "/vault/",
      username: "u",
      password: "p",
      ha_enabled: "true",
      etcd_api: "v3",
      sync: "true",
      tls_ca_file: "/ca",
      tls_cert_file: "/cert",
      tls_key_file: "/key",
      request_timeout: "3s",
      max_receive_size: "1",
    };
    expect(parseEtcdOptions(stanza, { ETCD_USERNAME: "other" })).toMatchObject({
      addresses: ["https://a:2379", "https://b:2379"],
      path: "vault/",
      credentials: { username: "u", password: "p" },
      tls: { ca: "/ca", cert: "/cert", key: "/key" },
      requestTimeoutMillis: 3_000,
    });
  });

  it("takes address, user and password from the environment when the stanza has none", () => {
    const environment = { ETCD_ADDR: "http://e:1", ETCD_USERNAME: "u", ETCD_PASSWORD: "p" };
    expect(parseEtcdOptions({ compaction: "0s" }, environment)).toMatchObject({
      addresses: ["http://e:1"],
      credentials: { username: "u", password: "p" },
      compactionMillis: undefined,
    });
  });

  const refused: readonly [string, JsonObject][] = [
    ["storage.address", { address: "etcd-0:2379" }],
    ["storage.address", { address: "http://a:2379/v3" }],
    ["storage.address", { address: [] }],
    ["storage.address", { address: "http://a:2379", tls_ca_file: "/ca" }],
    ["storage.sync", { sync: "perhaps" }],
    ["storage.path", { path: "/" }],
    ["storage.path", { path: "p".repeat(256) }],
    ["storage.password", { username: "u" }],
    ["storage.tls_key_file", { tls_cert_file: "/cert", address: "https://a" }],
    ["storage.request_timeout", { request_timeout: "soon" }],
    ["storage.max_request_bytes", { max_request_bytes: 10 }],
    ["storage.quota_backend_bytes", { quota_backend_bytes: 10 }],
    ["storage.compaction", { compaction: "-1s" }],
    ["storage.discovery_srv", { discovery_srv: "example.org" }],
    ["storage.adress", { adress: "http://a:2379" }],
  ];
  it.each(refused)("refuses a wrong %s, naming it: %j", (name, stanza) => {
    const failure = { code: "invalid_request", message: expect.stringContaining(name) };
    expect(() => parseEtcdOptions(stanza, {})).toThrow(expect.objectContaining(failure));
  });
});
