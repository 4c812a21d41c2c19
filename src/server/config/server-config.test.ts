import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CofferError } from "#common/errors.ts";
import { configReference } from "./config-reference.ts";
import { STANZAS, TOP_FIELDS } from "./config-schema.ts";
import { BOOTSTRAP_REQUESTS_MAX, parseServerConfig } from "./server-config.ts";

const MINIMAL = 'storage "memory" {}\n';
const parse = (text: string) => parseServerConfig([{ name: "a.hcl", text }]);
const withMinimal = (text: string) => parse(MINIMAL + text);

const FULL = `
ui            = false
cluster_name  = "main"
api_addr      = "https://main.example:8200"
cluster_addr  = "https://main-0:8201"
default_lease_ttl = "1h"
max_lease_ttl     = "24h"
log_level  = "trace"
log_format = "json"
pid_file   = "/run/coffer.pid"
workers    = 4

storage "lmdb" {
  path = "/var/lib/coffer"
  sync = true
}

listener "tcp" {
  address       = "[::]:8200"
  tls_cert_file = "/tls/tls.crt"
  tls_key_file  = "/tls/tls.key"
  tls_client_ca_file = "/tls/ca.crt"
  tls_require_and_verify_client_cert = "true"
  tls_min_version = "tls13"
  max_request_size = 1048576
  max_request_duration = "30s"
  x_forwarded_for_authorized_addrs = "10.0.0.0/8, 192.168.1.1"
  x_forwarded_for_hop_skips = "1"
  disable_unauthed_rekey_endpoints = false
  telemetry { unauthenticated_metrics_access = true }
}
listener "tcp" {
  address     = "127.0.0.1:8300"
  tls_disable = 1
}

seal "awskms" {
  name       = "second"
  priority   = 2
  kms_key_id = "alias/coffer"
}
seal "pkcs11" {
  priority = "1"
  slot     = 3
}

audit "file" "stdout" {
  description = "for people"
  options { file_path = "stdout" log_raw = false }
}

user_lockout "userpass" {
  lockout_threshold = 3
  lockout_duration  = "10m"
}

bootstrap {
  request "auth" {
    path = "/v1/sys/auth/kubernetes"
    data = { type = "kubernetes", config = { ttls = [1, 2] } }
  }
  request "policy" {
    operation = "create"
    path = "sys/policies/acl/p"
    data { policy = <<EOT
path "x" {}
EOT
    }
  }
}
`;

const FULL_PARSED = {
  storage: { type: "lmdb", config: { path: "/var/lib/coffer", sync: true } },
  listeners: [
    {
      host: "::",
      port: 8200,
      tls: {
        certFile: "/tls/tls.crt",
        keyFile: "/tls/tls.key",
        clientCaFile: "/tls/ca.crt",
        clientCertificates: "require",
        minVersion: "TLSv1.3",
        maxVersion: "TLSv1.3",
      },
      maxRequestBytes: 1_048_576,
      maxRequestSeconds: 30,
      requireRequestHeader: false,
      forwardedFor: {
        authorizedAddresses: ["10.0.0.0/8", "192.168.1.1"],
        hopSkips: 1,
        rejectNotPresent: true,
        rejectNotAuthorized: true,
      },
      unauthenticatedMetrics: true,
      unauthenticatedRekey: true,
      unauthenticatedRootGeneration: false,
    },
    {
      host: "127.0.0.1",
      port: 8300,
      tls: undefined,
      maxRequestBytes: 33_554_432,
      maxRequestSeconds: 90,
      requireRequestHeader: false,
      forwardedFor: undefined,
      unauthenticatedMetrics: false,
      unauthenticatedRekey: false,
      unauthenticatedRootGeneration: false,
    },
  ],
  seals: [
    { type: "pkcs11", name: "pkcs11", priority: 1, disabled: false, config: { priority: "1", slot: 3 } },
    {
      type: "awskms",
      name: "second",
      priority: 2,
      disabled: false,
      config: { name: "second", priority: 2, kms_key_id: "alias/coffer" },
    },
  ],
  audits: [
    {
      type: "file",
      path: "stdout/",
      description: "for people",
      options: { file_path: "stdout", log_raw: "false" },
    },
  ],
  userLockouts: [{ type: "userpass", threshold: 3, durationSeconds: 600, counterResetSeconds: 900, disabled: false }],
  bootstrap: [
    {
      name: "auth",
      operation: "update",
      path: "sys/auth/kubernetes",
      data: { type: "kubernetes", config: { ttls: [1, 2] } },
      namespace: "",
    },
    {
      name: "policy",
      operation: "create",
      path: "sys/policies/acl/p",
      data: { policy: 'path "x" {}\n' },
      namespace: "",
    },
  ],
  apiAddress: "https://main.example:8200",
  clusterAddress: "https://main-0:8201",
  clusterName: "main",
  defaultLeaseTtlSeconds: 3600,
  maxLeaseTtlSeconds: 86_400,
  logLevel: "debug",
  logFormat: "json",
  pidFile: "/run/coffer.pid",
  workers: 4,
  unauthenticatedMetrics: false,
  fips: false,
  rawStorage: false,
  introspection: false,
  warnings: [],
};

describe("parseServerConfig", () => {
  it("reads a full file", () => {
    expect(parse(FULL)).toEqual(FULL_PARSED);
  });

  it("has defaults for all but the storage", () => {
    expect(withMinimal("")).toMatchObject({
      storage: { type: "memory", config: {} },
      listeners: [],
      seals: [{ type: "shamir", name: "shamir", disabled: false }],
      clusterName: "coffer",
      defaultLeaseTtlSeconds: 2_764_800,
      maxLeaseTtlSeconds: 2_764_800,
      logLevel: "info",
      logFormat: "text",
      workers: undefined,
      warnings: [],
    });
  });

  it("reads JSON alike", () => {
    const config = parse(
      JSON.stringify({
        backend: { lmdb: { path: "/d" } },
        listener: [{ tcp: { address: "0.0.0.0:1", tls_disable: true } }, { tcp: { address: ":2", tls_disable: "1" } }],
        seal: { static: { current_key_id: "1" } },
        bootstrap: { request: [{ one: { path: "sys/a", data: { x: null } } }, { two: { path: "sys/b" } }] },
        max_lease_ttl: "768h",
        default_lease_ttl: 60,
      }),
    );
    expect(config).toMatchObject({
      storage: { type: "lmdb", config: { path: "/d" } },
      listeners: [
        { host: "0.0.0.0", port: 1 },
        { host: "::", port: 2 },
      ],
      seals: [{ type: "static", config: { current_key_id: "1" } }],
      bootstrap: [
        { name: "one", path: "sys/a", data: { x: null } },
        { name: "two", path: "sys/b", data: {} },
      ],
      defaultLeaseTtlSeconds: 60,
    });
  });

  it("puts several files together", () => {
    const config = parseServerConfig([
      { name: "1.hcl", text: `${MINIMAL}log_level = "debug"\nlistener "tcp" { address = ":1" tls_disable = true }` },
      {
        name: "2.hcl",
        text: 'log_level = "err"\nlistener "tcp" { address = ":2" tls_disable = true }\ndisable_mlock = true',
      },
    ]);
    expect(config.logLevel).toBe("error");
    expect(config.listeners.map((listener) => listener.port)).toEqual([1, 2]);
    expect(config.warnings).toEqual([
      "2.hcl line 3: disable_mlock has no effect: memory is never locked; give the machine no swap, or an encrypted one",
    ]);
  });

  it("warns of what has no effect, in any shape", () => {
    const { warnings } = withMinimal(
      'ui = true\nha_storage "consul" { path = "x" }\ntelemetry { statsd_address = "a:1" }\nplugin_directory = "/p"',
    );
    expect(warnings).toHaveLength(4);
    expect(warnings.every((warning) => warning.includes("has no effect: "))).toBe(true);
  });

  it.each([
    ["", "a storage stanza is missing"],
    [`${MINIMAL}storage "lmdb" {}`, "a.hcl: At 2:1: there is a second storage stanza"],
    [
      `${MINIMAL}listner "tcp" {}`,
      'a.hcl: At 2:1: the configuration has no setting "listner"; did you mean "listener"? known: api_addr, audit,',
    ],
    [`${MINIMAL}\n  frobnicate = 1`, 'a.hcl: At 3:3: the configuration has no setting "frobnicate"; known: '],
    [`${MINIMAL}listener "tcp" { adress = "a" }`, 'listener "tcp" has no setting "adress"; did you mean "address"?'],
    [`${MINIMAL}listener "unix" {}`, 'a.hcl: At 2:1: there is no listener type "unix"; write "tcp"'],
    [
      `${MINIMAL}listener "tcp" {}`,
      "the listener needs tls_cert_file and tls_key_file; for plain HTTP write tls_disable = true",
    ],
    [`${MINIMAL}listener "tcp" { tls_disable = true address = "nowhere" }`, 'address "nowhere" must be host:port'],
    [`${MINIMAL}listener "tcp" { tls_disable = true address = "a:70000" }`, 'address "a:70000" must be host:port'],
    [`${MINIMAL}listener "tcp" { tls_disable = "maybe" }`, "a.hcl: At 2:32: tls_disable must be true or false"],
    [
      `${MINIMAL}listener "tcp" { tls_disable = true max_request_size = 5 }`,
      "max_request_size must be a whole number from 1024 to",
    ],
    [
      `${MINIMAL}listener "tcp" { tls_disable = true max_request_duration = "soon" }`,
      'max_request_duration must be a duration such as "90s"',
    ],
    [
      `${MINIMAL}listener "tcp" { tls_disable = true x_forwarded_for_authorized_addrs = ["x"] }`,
      "x_forwarded_for_authorized_addrs",
    ],
    [`${MINIMAL}seal "awskms" {}\nseal "awskms" {}`, "a.hcl: At 3:1: there are two seals named awskms"],
    [`${MINIMAL}seal "awskms" { disabled = true }`, "every seal is disabled"],
    [`${MINIMAL}seal { kms_key_id = "x" }`, 'a.hcl: At 2:1: a label is missing; write seal "…" { … }'],
    [`${MINIMAL}audit "file" {}`, 'a.hcl: At 2:1: a label is missing; write audit "…" "…" { … }'],
    [`${MINIMAL}audit "file" "a" {}\naudit "file" "a/" {}`, "there are two audit devices at a/"],
    [`${MINIMAL}audit "file" "a" { options { x = [] } }`, "options must be a map of texts"],
    [`${MINIMAL}workers = 0`, "a.hcl: At 2:11: workers must be a whole number from 1 to 128"],
    [`${MINIMAL}workers = 129`, "workers must be a whole number from 1 to 128"],
    [`${MINIMAL}log_level = "loud"`, "log_level must be one of trace, debug, info, warn, warning, error, err"],
    [`${MINIMAL}workers = 1\nworkers = 2`, "a.hcl: At 3:1: the configuration has workers twice; leave one out"],
    [`${MINIMAL}default_lease_ttl = "2h"\nmax_lease_ttl = "1h"`, "default_lease_ttl must not be above max_lease_ttl"],
    [`${MINIMAL}bootstrap { request "x" {} }`, 'request "x" has no path'],
    [`${MINIMAL}bootstrap { requst "x" {} }`, 'bootstrap has no setting "requst"; did you mean "request"?'],
    [`${MINIMAL}bootstrap { request "x" { path = "a" operation = "fly" } }`, "operation must be one of create, update"],
    ["storage lmdb", "a.hcl: At 1:14: key 'storage lmdb' expected start of object"],
    ['{"storage": {"lmdb": }}', "a.hcl: At 1:22: unexpected } in JSON"],
  ])("refuses %j", (text, message) => {
    expect(() => parse(text)).toThrow(message);
    expect(() => parse(text)).toThrow(CofferError);
  });

  it("has a limit on bootstrap requests", () => {
    const text = (count: number) => `bootstrap {\n${'request "r" { path = "sys/a" }\n'.repeat(count)}}`;
    expect(withMinimal(text(BOOTSTRAP_REQUESTS_MAX)).bootstrap).toHaveLength(BOOTSTRAP_REQUESTS_MAX);
    expect(() => withMinimal(text(BOOTSTRAP_REQUESTS_MAX + 1))).toThrow("more than 500 requests");
  });

  it("fails on any text only by its own error", () => {
    const words = fc.constantFrom(
      ...STANZAS.map((stanza) => stanza.name),
      ...Object.keys(TOP_FIELDS),
      '"tcp"',
      '"x"',
      "{",
      "}",
      "=",
      "[",
      "]",
      "1",
      "true",
      "\n",
      "__proto__",
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 25 }), (all) => {
        try {
          withMinimal(all.join(" "));
        } catch (error) {
          expect(error).toBeInstanceOf(CofferError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("configReference", () => {
  it("has every setting with its sentence", () => {
    const page = configReference();
    for (const stanza of STANZAS) {
      expect(page).toContain(`## \`${stanza.name} `);
      for (const [name, field] of Object.entries(stanza.fields)) {
        expect(page).toContain(`| \`${name}\` |`);
        expect(page).toContain(field.doc);
      }
    }
    expect(page).toContain(
      '| `max_lease_ttl` | a duration such as "90s" or "768h" | `2764800` | Longest life of leases and tokens. |',
    );
  });
});
