// What an API server accepts and refuses of our kinds, as data: each case is a spec, and for a refused one a part of the
// sentence that the user reads. The cases name no namespace and no object name; whoever runs them chooses.
import type { JsonObject, JsonValue } from "#common/json.ts";

export interface CrdCase {
  readonly name: string;
  readonly kind: "VaultCluster" | "UnsealConfig" | "SecretBinding";
  /** Stored first; `spec` is then an update of it. */
  readonly before?: JsonObject;
  readonly spec: JsonObject;
  /** Part of the API server's answer; absent when the spec is accepted. */
  readonly refusal?: string;
  /** Instead of a name of the runner's choice. */
  readonly objectName?: string;
}

const kms = { keyId: "alias/coffer", region: "eu-west-1" };
const uc = (name: string, awsKms: JsonObject, refusal?: string): CrdCase => ({
  name: `UnsealConfig: ${name}`,
  kind: "UnsealConfig",
  spec: { awsKms: { ...kms, ...awsKms } },
  ...(refusal === undefined ? {} : { refusal }),
});

const unsealConfigs: readonly CrdCase[] = [
  uc("the short one", {}),
  uc("all of AWS KMS", {
    endpoint: "http://10.201.0.1:4599",
    encryptionContext: { cluster: "main" },
    roleArn: "arn:aws:iam::111122223333:role/coffer",
    credentials: { secretRef: { name: "aws" } },
  }),
  uc("a key by its id", { keyId: "1234abcd-12ab-34cd-56ef-1234567890ab" }),
  uc("a multi-region key", { keyId: "mrk-1234abcd12ab34cd56ef1234567890ab" }),
  { name: "UnsealConfig: static", kind: "UnsealConfig", spec: { static: { secretRef: { name: "key" } } } },
  {
    name: "UnsealConfig: an ARN names its region",
    kind: "UnsealConfig",
    spec: { awsKms: { keyId: "arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab" } },
  },
  {
    name: "UnsealConfig: no region",
    kind: "UnsealConfig",
    spec: { awsKms: { keyId: "alias/coffer" } },
    refusal: "set region, or write keyId as an ARN",
  },
  { name: "UnsealConfig: no provider", kind: "UnsealConfig", spec: {}, refusal: "set exactly one provider" },
  {
    name: "UnsealConfig: two providers",
    kind: "UnsealConfig",
    spec: { awsKms: kms, static: { secretRef: { name: "key" } } },
    refusal: "set exactly one provider",
  },
  {
    name: "UnsealConfig: a key in an HSM",
    kind: "UnsealConfig",
    spec: {
      pkcs11: {
        ...{
          library: "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so",
          keyLabel: "coffer",
          pin: { secretRef: { name: "pin" } },
        },
        cloudHsm: { clusterId: "cluster-abcdefg2345", region: "eu-west-1" },
      },
    },
  },
  {
    name: "UnsealConfig: a library by a relative path",
    kind: "UnsealConfig",
    spec: { pkcs11: { library: "lib.so", keyLabel: "coffer", pin: { secretRef: { name: "pin" } } } },
    refusal: "write library as an absolute path",
  },
  uc("a key that is none", { keyId: "my key" }, "write keyId as a key id, as alias/NAME or as an ARN"),
  uc("an endpoint without scheme", { endpoint: "kms.example.com" }, "write the endpoint as a URL"),
  uc("an endpoint of another scheme", { endpoint: "ftp://kms.example.com" }, "write the endpoint as a URL"),
  uc("a region that is none", { region: "Ireland" }, "write the region as AWS does"),
  uc("a role that is none", { roleArn: "coffer" }, "write roleArn as the ARN of a role"),
  uc("an external id without a role", { externalId: "coffer-42" }, "externalId wants a roleArn"),
  uc("a member that does not exist", { keyID: "x" }, "unknown field"),
];

const vc = (name: string, more: JsonObject, refusal?: string, before?: JsonObject): CrdCase => ({
  name: `VaultCluster: ${name}`,
  kind: "VaultCluster",
  spec: { unsealConfigRef: { name: "kms" }, ...more },
  ...(refusal === undefined ? {} : { refusal }),
  ...(before === undefined ? {} : { before: { unsealConfigRef: { name: "kms" }, ...before } }),
});

const rule = (...paths: string[]): JsonObject => ({ access: { rules: [{ paths }] } });

const vaultClusters: readonly CrdCase[] = [
  vc("the short one", {}),
  vc("everything", {
    replicas: 1,
    image: "registry.example.com/coffer:1",
    storage: { type: "embedded", size: "10Gi", storageClassName: "standard" },
    tls: { duration: "720h", renewBefore: "240h" },
    access: {
      rules: [
        { namespaceSelector: { matchLabels: { tier: "a" } }, paths: ["secret/{namespace}/*", "shared/common"] },
        { namespaceSelector: { matchExpressions: [{ key: "tier", operator: "In", values: ["b"] }] }, paths: ["kv/*"] },
      ],
      admins: [{ namespace: "platform", serviceAccount: "admin" }],
    },
    audit: { stdout: true },
    default: true,
    deletionPolicy: "Delete",
    resources: { requests: { cpu: 1 } },
  }),
  vc("the volume grows", { storage: { size: "2Gi" } }, undefined, { storage: { size: "1Gi" } }),
  vc("the volume keeps its size in other words", { storage: { size: "1024Mi" } }, undefined, {
    storage: { size: "1Gi" },
  }),
  vc("snapshots in a bucket", { backup: { s3: { bucket: "backups" } } }),
  vc("snapshots, all of it", {
    backup: {
      ...{ interval: "1m", retain: 1, verifyInterval: "0s" },
      s3: { bucket: "b.1-x", prefix: "coffer/", region: "eu-west-1", endpoint: "http://minio:9000" },
    },
  }),
  vc("snapshots without a bucket", { backup: {} }, "spec.backup.s3: Required value"),
  vc("snapshots without end", { backup: { interval: "59s", s3: { bucket: "backups" } } }, "an interval of 1m or more"),
  vc("an interval that is none", { backup: { interval: "daily", s3: { bucket: "backups" } } }, "write the duration in"),
  vc("a bucket that is none", { backup: { s3: { bucket: "s3://backups" } } }, "write the bucket's name"),
  vc(
    "a prefix that is no folder",
    { backup: { s3: { bucket: "backups", prefix: "a" } } },
    "write the prefix as a folder",
  ),
  vc(
    "a bucket's address without scheme",
    { backup: { s3: { bucket: "backups", endpoint: "minio" } } },
    "write the endpoint",
  ),
  {
    name: "VaultCluster: no UnsealConfig",
    kind: "VaultCluster",
    spec: {},
    refusal: "spec.unsealConfigRef: Required value",
  },
  vc(
    "two pods on embedded storage",
    { replicas: 3, storage: { type: "embedded" } },
    "embedded storage belongs to one pod: set replicas to 1",
  ),
  vc("three pods", { replicas: 3 }),
  vc("three pods with everything that goes with them", {
    replicas: 3,
    storage: {
      type: "etcd",
      size: "10Gi",
      etcd: { members: 5, image: "etcd:3", resources: { limits: { memory: "2Gi" } } },
    },
    scheduling: {
      antiAffinity: "Required",
      topologySpread: [{ topologyKey: "topology.kubernetes.io/zone", whenUnsatisfiable: "DoNotSchedule" }],
      nodeSelector: { pool: "secrets" },
      tolerations: [{ key: "secrets", operator: "Exists", effect: "NoSchedule" }],
      priorityClassName: "high",
    },
    podTemplate: { labels: { team: "a" }, annotations: { a: "b" }, serviceAccountAnnotations: { a: "b" } },
  }),
  vc("etcd of somebody else", {
    replicas: 3,
    storage: { etcd: { external: { endpoints: ["https://etcd:2379"], secretRef: { name: "etcd" } } } },
  }),
  vc(
    "etcd at a path",
    { storage: { type: "etcd", etcd: { external: { endpoints: ["https://e/x"] } } } },
    "without a path",
  ),
  vc("four members", { replicas: 3, storage: { etcd: { members: 4 } } }, "set members to 3 or 5"),
  vc("PostgreSQL", { replicas: 2, storage: { type: "postgres", postgres: { secretRef: { name: "db-app" } } } }),
  vc("PostgreSQL without a Secret", { storage: { type: "postgres" } }, "postgres belongs to type postgres"),
  vc(
    "more pods where storage goes with their number",
    { replicas: 3 },
    "the storage cannot change once the cluster exists",
    { replicas: 1 },
  ),
  vc("the storage is said later as it is", { replicas: 3, storage: { type: "etcd" } }, undefined, { replicas: 3 }),
  vc("one pod left on etcd", { replicas: 1, storage: { type: "etcd" } }, undefined, { replicas: 3 }),
  vc("another storage later", { replicas: 3, storage: { type: "etcd" } }, "the storage cannot change", {
    replicas: 1,
    storage: { type: "embedded" },
  }),
  vc(
    "somebody else's etcd later",
    { replicas: 3, storage: { etcd: { external: { endpoints: ["https://e:2379"] } } } },
    "who runs etcd cannot change",
    { replicas: 3 },
  ),
  vc("the volume shrinks", { storage: { size: "512Mi" } }, "a volume cannot shrink", { storage: { size: "1Gi" } }),
  vc("a size that is none", { storage: { size: "big" } }, "write the size as a quantity, such as 1Gi"),
  vc("a size of nothing", { storage: { size: "0" } }, "the size must be more than 0"),
  vc("another storage class later", { storage: { storageClassName: "fast" } }, "storageClassName cannot change", {
    storage: { storageClassName: "slow" },
  }),
  vc("a storage class added later", { storage: { storageClassName: "fast" } }, "storageClassName cannot change", {}),
  vc("a duration that is none", { tls: { duration: "90d" } }, "write the duration in seconds, minutes and hours"),
  vc("renewal before issue", { tls: { duration: "1h", renewBefore: "2h" } }, "renewBefore must be shorter"),
  vc("a rule from the root", rule("/secret/*"), "write the path from its mount on"),
  vc("a rule that climbs", rule("secret/../*"), "write the path from its mount on"),
  vc("a rule with another placeholder", rule("secret/{name}/*"), "the placeholder {namespace}"),
  vc("a rule with a glob within", rule("secret/*/db"), "* as its last character"),
  vc("a rule without paths", rule(), "should have at least 1 items"),
  vc("an administrator without a namespace", { access: { admins: [{ serviceAccount: "admin" }] } }, "Required value"),
  vc(
    "an administrator added later",
    { access: { admins: [{ namespace: "platform", serviceAccount: "admin" }] } },
    "admins are written when the server initialises itself",
    {},
  ),
  vc("a policy that does not exist", { deletionPolicy: "Ask" }, 'supported values: "Retain", "Delete"'),
  { ...vc("a name with a dot", {}, "choose a name of at most 40 characters without dots"), objectName: "a.b" },
  {
    ...vc("a name that is too long", {}, "choose a name of at most 40 characters without dots"),
    objectName: "a".repeat(41),
  },
  { ...vc("a name of 40 characters", {}), objectName: "a".repeat(40) },
];

const short: JsonObject = { path: "secret/team/db", files: [{ path: "db.json" }] };
const sb = (name: string, spec: JsonObject, refusal?: string): CrdCase => ({
  name: `SecretBinding: ${name}`,
  kind: "SecretBinding",
  spec,
  ...(refusal === undefined ? {} : { refusal }),
});
const withFile = (file: JsonObject): JsonObject => ({ ...short, files: [file] });
const withEnv = (...env: JsonValue[]): JsonObject => ({ path: "secret/team/db", env });
const two: JsonObject = {
  sources: [
    { name: "db", path: "secret/team/db" },
    { name: "tls", path: "secret/team/tls", version: 3, optional: true },
  ],
};

const kept = (secret: JsonObject): JsonObject => ({ path: "secret/team/db", secret });
const restarting = { targets: [{ kind: "Deployment", name: "web" }] };

const secretBindings: readonly CrdCase[] = [
  sb("the short one", short),
  sb("variables only", withEnv({ name: "DB_PASSWORD", key: "password" })),
  sb("the one source by its name", withFile({ path: "db.json", source: "default" })),
  sb("everything", {
    ...two,
    vaultRef: { name: "main", namespace: "coffer-system" },
    selector: { matchLabels: { app: "web" } },
    serviceAccounts: ["web"],
    files: [
      { path: "conf/db.json", source: "db", mode: "0400" },
      { path: "cert.pem", source: "tls", format: "Raw", key: "certificate" },
    ],
    env: [{ name: "DB_PASSWORD", source: "db", key: "password" }],
    envMethod: "Helper",
    mountPath: "/etc/app/secrets",
    containers: ["web"],
    mode: "Sidecar",
    refreshInterval: "10s",
  }),
  sb("no refresh", { ...short, refreshInterval: "0s" }),
  sb("neither path nor sources", { files: [{ path: "a" }] }, "set either path, for one secret, or sources"),
  sb("path and sources", { ...short, ...two }, "set either path, for one secret, or sources"),
  sb("nothing to deliver", { path: "secret/team/db" }, "set files, env or secret"),
  sb("a path from the root", { ...short, path: "/secret/team/db" }, "write the path from its mount on"),
  sb("a path that climbs", { ...short, path: "secret/team/../other" }, "write the path from its mount on"),
  sb("a path with a glob", { ...short, path: "secret/team/*" }, "a path may hold letters, digits and"),
  sb("a path with a segment glob", { ...short, path: "secret/+/db" }, "a path may hold letters, digits and"),
  sb("a path that ends in a slash", { ...short, path: "secret/team/" }, "does not end with one"),
  sb("a path with a quote", { ...short, path: 'secret/a"b' }, "a path may hold letters, digits and"),
  sb("a path of 513 characters", { ...short, path: "a".repeat(513) }, "may not be more than 512"),
  sb("a file from the root", withFile({ path: "/db.json" }), "write the file's path relative to mountPath"),
  sb("a file that climbs", withFile({ path: "../db.json" }), "write the file's path relative to mountPath"),
  sb("a file with spaces", withFile({ path: "my file" }), "a file's path may hold letters"),
  sb("a mode without the zero", withFile({ path: "a", mode: "440" }), "write the mode as four octal digits in quotes"),
  sb("a mode as a number", withFile({ path: "a", mode: 440 }), "must be of type string"),
  sb("Raw without a key", withFile({ path: "a", format: "Raw" }), "set key with format Raw"),
  sb("a key without Raw", withFile({ path: "a", key: "password" }), "set key with format Raw"),
  sb("a template", withFile({ path: "a", format: "Template", template: "{{ .password }}", errorOnMissingKey: false })),
  sb("a template of several sources", {
    ...two,
    files: [{ path: "a", format: "Template", template: '{{ (source "db").password }}' }],
  }),
  sb("Template without one", withFile({ path: "a", format: "Template" }), "set template with format Template"),
  sb("a template with another format", withFile({ path: "a", template: "x" }), "set template with format Template"),
  sb("a keystore", withFile({ path: "a.p12", format: "PKCS12", keystore: { passwordKey: "password" } })),
  sb("a keystore with a password from elsewhere", {
    ...two,
    files: [
      {
        path: "a",
        source: "db",
        format: "JKS",
        keystore: { passwordKey: "password", passwordSource: "tls", alias: "web" },
      },
    ],
  }),
  sb("a keystore without its description", withFile({ path: "a", format: "JKS" }), "set keystore with format PKCS12"),
  sb("a keystore without a password", withFile({ path: "a", format: "JKS", keystore: {} }), "passwordKey"),
  sb(
    "a keystore of another format",
    withFile({ path: "a", keystore: { passwordKey: "password" } }),
    "set keystore with format PKCS12",
  ),
  sb(
    "a keystore whose password has no source",
    withFile({ path: "a", format: "JKS", keystore: { passwordKey: "password", passwordSource: "x" } }),
    "every passwordSource of a keystore must be the name of one of spec.sources",
  ),
  sb("a format that does not exist", withFile({ path: "a", format: "TOML" }), "supported values"),
  sb("a file of no source", { ...two, files: [{ path: "a", source: "x" }] }, "must be the name of one of spec.sources"),
  sb("a file that names no source of two", { ...two, files: [{ path: "a" }] }, "say for every file in files"),
  sb("a variable of no source", withEnv({ name: "A", source: "x", key: "k" }), "with spec.path leave it out"),
  sb(
    "a variable that names no source of two",
    { ...two, env: [{ name: "A", key: "k" }] },
    "say for every variable in env",
  ),
  sb("a variable that begins with a digit", withEnv({ name: "1A", key: "k" }), "a variable's name holds letters"),
  sb("a variable without a key", withEnv({ name: "A" }), "key: Required value"),
  sb(
    "a variable twice",
    withEnv({ name: "A", key: "k" }, { name: "A", key: "l" }),
    "every name of a variable must be there only once",
  ),
  sb(
    "a file twice",
    { ...short, files: [{ path: "a" }, { path: "a", format: "YAML" }] },
    "every path of a file must be there only once",
  ),
  sb("a change that is told", {
    ...short,
    maxStale: "24h",
    onChange: { http: { port: 8081, path: "/-/reload" }, signal: { name: "SIGUSR1", process: "nginx" } },
  }),
  sb("a change that is told to nobody", { ...short, onChange: {} }, "set http, signal or both"),
  sb(
    "a change that is told to another machine",
    { ...short, onChange: { http: { port: 80, path: "@elsewhere/" } } },
    "write a path that begins with /",
  ),
  sb("files that may be stale for some time", { ...short, maxStale: "long" }, "write the duration in seconds"),
  sb("a refresh each second", { ...short, refreshInterval: "1s" }, "set refreshInterval to 10s or more"),
  sb("a refresh that is no duration", { ...short, refreshInterval: "often" }, "write the duration in seconds"),
  sb(
    "a sidecar without refresh",
    { ...short, mode: "Sidecar", refreshInterval: "0s" },
    "a Sidecar is there to refresh",
  ),
  sb("files in the root", { ...short, mountPath: "/" }, "write mountPath as an absolute directory"),
  sb("files in a relative directory", { ...short, mountPath: "secrets" }, "write mountPath as an absolute directory"),
  sb("an empty list of ServiceAccounts", { ...short, serviceAccounts: [] }, "should have at least 1 items"),
  sb("a ServiceAccount that is none", { ...short, serviceAccounts: ["A b"] }, "write the name of a Kubernetes object"),
  sb("a member that does not exist", { ...short, file: [] }, "unknown field"),
  sb("a Kubernetes Secret alone", { path: "secret/team/db", secret: {} }),
  sb("all of a Kubernetes Secret", {
    sources: [
      { name: "db", path: "secret/team/db" },
      { name: "tls", path: "secret/team/tls" },
    ],
    serviceAccounts: ["web"],
    secret: {
      ...{ name: "web", serviceAccountName: "web", type: "kubernetes.io/tls", creationPolicy: "Orphan" },
      ...{ deletionPolicy: "Retain", immutable: true, labels: { app: "web" }, annotations: { note: "x" } },
      data: [
        { key: "tls.crt", source: "tls", from: "cert" },
        { key: "tls.key", source: "tls", from: "key", decode: "Base64" },
        { key: "url", template: "{{ .db.user }}" },
      ],
      restart: {
        targets: [{ kind: "Deployment", name: "web" }],
        minInterval: "1h",
        window: { days: ["Sat"], start: "22:00", end: "04:00" },
      },
    },
  }),
  sb("a key from and by a template", kept({ data: [{ key: "a", from: "b", template: "c" }] }), "set either from or"),
  sb("a key that a Secret cannot have", kept({ data: [{ key: "a/b" }] }), "a key of a Kubernetes Secret may hold"),
  sb("a source of a key that is none", kept({ data: [{ key: "a", source: "b" }] }), "every source in secret.data"),
  sb(
    "several sources and a key of none",
    {
      sources: [
        { name: "a", path: "a/a" },
        { name: "b", path: "b/b" },
      ],
      secret: { data: [{ key: "k" }] },
    },
    "say for every key in secret.data which source",
  ),
  sb("a token of a ServiceAccount", kept({ type: "kubernetes.io/service-account-token" }), "choose another type"),
  sb("an annotation of Kubernetes", kept({ annotations: { "kubernetes.io/x": "y" } }), "have a meaning of their own"),
  sb("a merge with a type", kept({ creationPolicy: "Merge", type: "a/b" }), "the Secret is somebody else's"),
  sb(
    "a ServiceAccount that the binding is not for",
    { ...kept({ serviceAccountName: "a" }), serviceAccounts: ["b"] },
    "secret.serviceAccountName must be one of",
  ),
  sb(
    "a restart each second",
    kept({ restart: { ...restarting, minInterval: "1s" } }),
    "set minInterval to 10s or more",
  ),
  sb("a restart of nothing", kept({ restart: { targets: [] } }), "should have at least 1 items"),
  sb(
    "a window at no time of the day",
    kept({ restart: { ...restarting, window: { start: "24:00", end: "01:00" } } }),
    "write the time as",
  ),
];

export const crdCases: readonly CrdCase[] = [...unsealConfigs, ...vaultClusters, ...secretBindings];
