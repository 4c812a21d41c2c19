// All settings of a server's configuration file, each with its sentence: the parser and the reference page are made
// from these tables and from nothing else. Names are those of Vault where Vault has the setting
// (https://developer.hashicorp.com/vault/docs/configuration).
import {
  type ConfigFields,
  data,
  duration,
  flag,
  ignored,
  integer,
  text,
  textMap,
  texts,
  word,
} from "#common/hcl/config-fields.ts";

/** 768 h: Vault's default for both lease times. */
export const LEASE_TTL_SECONDS_DEFAULT = 768 * 3600;
/** 32 MiB: Vault's default max_request_size. */
export const REQUEST_BYTES_DEFAULT = 32 * 1024 * 1024;
/** 90 s: Vault's default max_request_duration. */
export const REQUEST_SECONDS_DEFAULT = 90;
/** One process for each core of the largest machines in use. */
const WORKERS_MAX = 128;
/** A request is held in memory while it is handled. */
const REQUEST_BYTES_MAX = 512 * 1024 * 1024;

const ONE_LOG = "logs go to standard error, where the platform collects them";
const NO_PLUGINS = "there are no external plugins";
const PUSHED_METRICS = "metrics are read from sys/metrics, they are not pushed";

export const TOP_FIELDS = {
  api_addr: text("Address at which clients reach this node, for redirects and status."),
  cluster_addr: text("Address that other nodes are told; nodes meet in the storage, so nothing listens there."),
  cluster_name: text("Name of the cluster, bound to what seals wrap: do not change it later.", "coffer"),
  default_lease_ttl: duration("Life of leases and tokens that ask for none.", LEASE_TTL_SECONDS_DEFAULT),
  max_lease_ttl: duration("Longest life of leases and tokens.", LEASE_TTL_SECONDS_DEFAULT),
  default_max_request_duration: duration(
    "Longest time for a request where a listener sets none.",
    REQUEST_SECONDS_DEFAULT,
  ),
  log_level: word("Least severity of what is logged.", "info", [
    "trace",
    "debug",
    "info",
    "warn",
    "warning",
    "error",
    "err",
  ]),
  log_format: word("Lines for people (standard) or for machines (json).", "standard", ["standard", "text", "json"]),
  fips: flag(
    "Start only in FIPS mode: with OpenSSL's FIPS provider, which the process is given by OPENSSL_CONF (docs/guides/fips.md).",
    false,
  ),
  raw_storage_endpoint: flag(
    "Serve sys/raw, which reads and writes the records behind the barrier as they are; it wants sudo. For repairs.",
    false,
  ),
  introspection_endpoint: flag("Serve sys/internal/inspect, which shows routes and requests; it wants sudo.", false),
  pid_file: text("File that holds the process id while the server runs."),
  workers: integer(
    "Processes that serve the store on the same addresses, each a full node. By default one for each core that the " +
      "process may use, as far as its memory limit is enough for 192 MiB each, with storage in lmdb; 1 with any other.",
    undefined,
    { min: 1, max: WORKERS_MAX },
  ),
  ui: flag("Accepted from existing files; true gives a warning, there is no web interface.", false),
  disable_mlock: ignored("memory is never locked; give the machine no swap, or an encrypted one"),
  plugin_directory: ignored(NO_PLUGINS),
  plugin_tmpdir: ignored(NO_PLUGINS),
  plugin_file_uid: ignored(NO_PLUGINS),
  plugin_file_permissions: ignored(NO_PLUGINS),
  cache_size: ignored("caches have fixed bounds"),
  disable_cache: ignored("a cached value is used only while its version in the storage is current"),
  disable_clustering: ignored("every node is active; there is nothing to cluster"),
  disable_performance_standby: ignored("every node is active"),
  disable_sealwrap: ignored("seal wrap is a setting of each mount"),
  disable_printable_check: ignored("paths are checked by the parts that serve them"),
  enable_response_header_hostname: ignored("answers do not name the host"),
  enable_response_header_raft_node_id: ignored("there is no raft"),
  license_path: ignored("everything is free"),
  log_file: ignored(ONE_LOG),
  log_rotate_bytes: ignored(ONE_LOG),
  log_rotate_duration: ignored(ONE_LOG),
  log_rotate_max_files: ignored(ONE_LOG),
  log_requests_level: ignored("audit devices record every request"),
  ha_storage: ignored("the storage itself coordinates the nodes"),
  service_registration: ignored("nodes are found through the Service of the platform"),
  reporting: ignored("nothing is reported to anybody"),
  sentinel: ignored("policies are ACL policies"),
} satisfies ConfigFields;

export const LISTENER_FIELDS = {
  address: text("Where to listen, host:port.", "127.0.0.1:8200"),
  tls_disable: flag("Serve plain HTTP; for tests and behind a proxy on the same machine.", false),
  tls_cert_file: text("Certificate chain in PEM, the server's own first. Read again on SIGHUP and when it changes."),
  tls_key_file: text("The certificate's private key in PEM."),
  tls_client_ca_file: text("Authorities for client certificates, in PEM."),
  tls_require_and_verify_client_cert: flag("Refuse clients without a certificate of those authorities.", false),
  tls_disable_client_certs: flag("Do not ask clients for a certificate.", false),
  tls_min_version: word("Oldest TLS version.", "tls12", ["tls12", "tls13"]),
  tls_max_version: word("Newest TLS version.", "tls13", ["tls12", "tls13"]),
  max_request_size: integer("Largest request body in bytes.", REQUEST_BYTES_DEFAULT, {
    min: 1024,
    max: REQUEST_BYTES_MAX,
  }),
  max_request_duration: duration("Longest time for a request; 0 takes default_max_request_duration.", 0),
  require_request_header: flag("Refuse requests without the header X-Vault-Request: true.", false),
  disable_unauthed_rekey_endpoints: flag(
    "Have sys/rekey and sys/rekey-recovery-key want sudo. False: who has shares needs no token on this listener.",
    true,
  ),
  disable_unauthed_generate_root_endpoints: flag(
    "Have sys/generate-root want sudo. False: who has shares needs no token on this listener.",
    true,
  ),
  x_forwarded_for_authorized_addrs: texts("Proxies, as CIDR blocks, whose X-Forwarded-For header is believed."),
  x_forwarded_for_hop_skips: integer("Entries to skip from the right end of the header.", 0, { min: 0, max: 64 }),
  x_forwarded_for_reject_not_present: flag("Refuse requests of such proxies without the header.", true),
  x_forwarded_for_reject_not_authorized: flag("Refuse the header from anybody else.", true),
  cluster_address: ignored("nodes meet in the storage"),
  http_idle_timeout: ignored("connections have fixed limits"),
  http_read_header_timeout: ignored("connections have fixed limits"),
  http_read_timeout: ignored("max_request_duration bounds requests"),
  http_write_timeout: ignored("max_request_duration bounds requests"),
  tls_cipher_suites: ignored("only suites with forward secrecy and authenticated encryption are offered"),
  tls_prefer_server_cipher_suites: ignored("only strong suites are offered"),
  custom_response_headers: ignored("answers have fixed headers"),
} satisfies ConfigFields;

/** Members of the listener's own telemetry block. */
export const LISTENER_TELEMETRY_FIELDS = {
  unauthenticated_metrics_access: flag("Answer sys/metrics without a token.", false),
  unauthenticated_pprof_access: ignored("there are no profiles to read"),
  unauthenticated_in_flight_request_access: ignored("requests in flight are a metric"),
} satisfies ConfigFields;

/** Members that every seal stanza has; the rest belongs to its type. */
export const SEAL_FIELDS = {
  name: text("Name of the seal, unique; its type when left out."),
  priority: integer("Of several seals the lowest number is asked first.", 1, { min: 1, max: 1_000 }),
  disabled: flag("Unseal with it, but wrap nothing new: the seal that is migrated away from.", false),
} satisfies ConfigFields;

export const AUDIT_FIELDS = {
  description: text("For people.", ""),
  options: textMap("Settings of the device, as sys/audit takes them."),
  local: ignored("every node writes its own entries"),
} satisfies ConfigFields;

export const TELEMETRY_FIELDS = {
  unauthenticated_metrics_access: flag("Answer sys/metrics without a token, on every listener.", false),
  prometheus_retention_time: ignored("metrics live as long as the process"),
  disable_hostname: ignored("metrics do not carry the host's name"),
  usage_gauge_period: ignored("gauges are kept up to date all the time"),
  maximum_gauge_cardinality: ignored("the number of series is bounded"),
  metrics_prefix: ignored("names of metrics are fixed"),
  enable_hostname_label: ignored("metrics do not carry the host's name"),
  lease_metrics_epsilon: ignored("leases are counted exactly"),
  add_lease_metrics_namespace_labels: ignored("leases are counted exactly"),
  num_lease_metrics_buckets: ignored("leases are counted exactly"),
  filter_default: ignored("all metrics are given"),
  prefix_filter: ignored("all metrics are given"),
  statsd_address: ignored(PUSHED_METRICS),
  statsite_address: ignored(PUSHED_METRICS),
  dogstatsd_addr: ignored(PUSHED_METRICS),
  dogstatsd_tags: ignored(PUSHED_METRICS),
  circonus_api_token: ignored(PUSHED_METRICS),
  stackdriver_project_id: ignored(PUSHED_METRICS),
} satisfies ConfigFields;

export const USER_LOCKOUT_FIELDS = {
  lockout_threshold: integer("Failed logins after which a user is locked out.", 5, { min: 1, max: 1_000_000 }),
  lockout_duration: duration("How long a user stays locked out.", 900),
  lockout_counter_reset: duration("Failed logins older than this do not count.", 900),
  disable_lockout: flag("Lock nobody out.", false),
} satisfies ConfigFields;

/** A shorter interval would take one snapshot while the last one is being sent. */
export const SNAPSHOT_INTERVAL_SECONDS_MIN = 60;

export const SNAPSHOTS_FIELDS = {
  interval: duration("How often, at least a minute; at the same times on every node.", 24 * 3600),
  retain: integer("How many are kept; older ones are removed.", 7, { min: 1, max: 10_000 }),
  verify_interval: duration(
    "How often a stored one is tried by restoring it to a scratch store; 0 for never.",
    24 * 3600,
  ),
  directory: text("Where to keep them: a directory, best of another machine."),
  s3_bucket: text("Where to keep them: a bucket. Credentials come from where AWS clients look for them."),
  s3_prefix: text("Before their names in the bucket.", ""),
  s3_region: text("Region of the bucket; that of the environment when left out."),
  s3_endpoint: text("URL of a store that speaks as S3 does; AWS itself when left out."),
} satisfies ConfigFields;

export const REQUEST_FIELDS = {
  operation: word("What to do.", "update", ["create", "update", "patch", "delete", "read", "list"]),
  path: text("API path without /v1/, such as sys/auth/kubernetes.", ""),
  data: data("Body of the request."),
  namespace: text("Namespace to do it in; the root namespace when left out.", ""),
} satisfies ConfigFields;

/** A kind of stanza, for the parser and the reference. */
export interface StanzaDescription {
  readonly name: string;
  /** What each label says. */
  readonly labels: readonly string[];
  readonly doc: string;
  /** Members that are read here; further ones belong to the type when `open`. */
  readonly fields: ConfigFields;
  readonly open: boolean;
}

export const STANZAS: readonly StanzaDescription[] = [
  {
    name: "storage",
    labels: ["type"],
    doc: "Where data is kept; exactly one. Its members belong to the type.",
    fields: {},
    open: true,
  },
  { name: "backend", labels: ["type"], doc: "The old name of storage.", fields: {}, open: true },
  {
    name: "listener",
    labels: ["type"],
    doc: "An address to serve; the type is tcp.",
    fields: LISTENER_FIELDS,
    open: false,
  },
  {
    name: "seal",
    labels: ["type"],
    doc: "What opens the store; several wrap the same root key. Shamir without any.",
    fields: SEAL_FIELDS,
    open: true,
  },
  {
    name: "audit",
    labels: ["type", "path"],
    doc: "An audit device that is there from the start.",
    fields: AUDIT_FIELDS,
    open: false,
  },
  { name: "telemetry", labels: [], doc: "Metrics.", fields: TELEMETRY_FIELDS, open: false },
  {
    name: "user_lockout",
    labels: ["auth type"],
    doc: "When logins lock a user out; the label all is for every type.",
    fields: USER_LOCKOUT_FIELDS,
    open: false,
  },
  {
    name: "snapshots",
    labels: [],
    doc: "Snapshots at intervals, to a directory or a bucket; at most one.",
    fields: SNAPSHOTS_FIELDS,
    open: false,
  },
  {
    name: "bootstrap",
    labels: [],
    doc: "Requests that a fresh server with an auto seal makes of itself, in order, all or none; blocks: request.",
    fields: {},
    open: false,
  },
];

/** The request block of bootstrap. */
export const REQUEST_STANZA: StanzaDescription = {
  name: "request",
  labels: ["name"],
  doc: "One request of the bootstrap; the name is for messages.",
  fields: REQUEST_FIELDS,
  open: false,
};
