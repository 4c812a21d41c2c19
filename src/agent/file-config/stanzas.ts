// All settings of a configuration file of the agent, each with its sentence: the parser and the reference page are made
// from these tables. Names and meanings are those of `vault agent`
// (https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent); what Coffer adds says so. A stanza is one entry.
import { type ConfigFields, duration, flag, ignored, integer, text, word } from "#common/hcl/config-fields.ts";
import { commandLine, modeText, share, tokenUse } from "./command-line.ts";

/** As Vault's agent. */
export const RENDER_SECONDS_DEFAULT = 300;
export const MIN_BACKOFF_SECONDS = 1;
export const MAX_BACKOFF_SECONDS = 300;
export const COMMAND_SECONDS_DEFAULT = 30;
const PUSHED = "metrics are read from /agent/v1/metrics, they are not pushed";

export const TOP_FIELDS = {
  pid_file: text("File that holds the process id while the agent runs."),
  exit_after_auth: flag("End once the token has been written to the sinks and everything is rendered.", false),
  log_level: word("Least severity of what is logged.", "info", ["trace", "debug", "info", "warn", "error", "err"]),
  log_format: word("Lines for people (standard) or for machines (json).", "standard", ["standard", "json"]),
  log_file: text("File to write the log to, besides standard error; SIGHUP opens it anew."),
  log_rotate_bytes: ignored("let logrotate turn the file over and send SIGHUP"),
  log_rotate_duration: ignored("let logrotate turn the file over and send SIGHUP"),
  log_rotate_max_files: ignored("let logrotate turn the file over and send SIGHUP"),
  disable_idle_connections: ignored("idle connections end by themselves after half a minute"),
  disable_keep_alives: ignored("idle connections end by themselves after half a minute"),
  auto_reload: ignored("SIGHUP reads the configuration again"),
  ready_file: text("File that is there while everything is rendered and fresh enough. Coffer's own."),
  state_file: text(
    "File on a tmpfs that keeps the token and leased credentials over a restart of the agent. Coffer's own.",
  ),
  max_stale: duration(
    "How long files stay that cannot be refreshed; then they are removed. 0: for ever. Coffer's own.",
    0,
  ),
  events: flag("Ask the server to tell changes of KV secrets. Coffer's own.", true),
  revoke_on_exit: flag(
    "Revoke the token when the agent ends; not after exit_after_auth, whose token is others' then. Coffer's own.",
    true,
  ),
} satisfies ConfigFields;

export const VAULT_FIELDS = {
  address: text("Address of the server; else VAULT_ADDR or https://127.0.0.1:8200."),
  namespace: text("Namespace of everything but the login, which has its own."),
  ca_cert: text("PEM file with the CA of the server's certificate. Read at each call."),
  ca_path: text("Directory of such files."),
  client_cert: text("PEM file with a client certificate."),
  client_key: text("PEM file with its key."),
  tls_skip_verify: flag("Accept any certificate.", false),
  tls_server_name: text("Name that the certificate must have."),
} satisfies ConfigFields;

export const RETRY_FIELDS = {
  num_retries: integer("Further attempts of a call; -1 for none.", 12, { min: -1, max: 1000 }),
} satisfies ConfigFields;

export const METHOD_FIELDS = {
  type: text("The kind of login; may stand as a label instead."),
  mount_path: text("Where the method is mounted; auth/<type> when left out."),
  namespace: text("Namespace of the mount; that of the vault stanza when left out."),
  wrap_ttl: duration("Have the token wrapped for so long, for the sinks alone: the agent then has none itself.", 0),
  min_backoff: duration("First wait after a login that failed; each further one doubles.", MIN_BACKOFF_SECONDS),
  max_backoff: duration("Longest such wait.", MAX_BACKOFF_SECONDS),
  exit_on_err: flag("End when a login fails.", false),
} satisfies ConfigFields;

const NO_ENCRYPTION =
  "refused: tokens in sinks are not encrypted; use wrap_ttl and a directory that others cannot read";
export const SINK_FIELDS = {
  type: text("file; may stand as a label instead."),
  wrap_ttl: duration("Write the token wrapped, as JSON, for so long.", 0),
} satisfies ConfigFields;
/** Of Vault's agent; to leave them out silently would write a bare token. */
export const SINK_REFUSED: ReadonlyMap<string, string> = new Map(
  ["dh_type", "dh_path", "derive_key", "aad", "aad_env_var"].map((name) => [name, NO_ENCRYPTION] as const),
);

export const FILE_SINK_FIELDS = {
  path: text("The file."),
  mode: modeText("Its permissions in octal.", "0640"),
  owner: integer("User id of its owner.", undefined, { min: 0, max: 2 ** 31 }),
  group: integer("Id of its group.", undefined, { min: 0, max: 2 ** 31 }),
} satisfies ConfigFields;

export const TEMPLATE_FIELDS = {
  source: text("File of the template."),
  contents: text("The template itself, instead of source."),
  destination: text("The file to write."),
  create_dest_dirs: flag("Make missing directories of it.", true),
  perms: modeText("Its permissions in octal.", "0644"),
  user: text("Its owner, by name or number."),
  group: text("Its group, by name or number."),
  left_delimiter: text("What opens an action.", "{{"),
  right_delimiter: text("What closes it.", "}}"),
  error_on_missing_key: flag("Whether a key that the secret lacks is an error; else it prints <no value>.", false),
  backup: flag("Keep the file's last content beside it, as FILE.bak.", false),
  command: commandLine(
    "To run after a change. A list runs as it is; a text runs without a shell when it is plain words, else by /bin/sh.",
  ),
  command_timeout: duration("Longest time for command.", COMMAND_SECONDS_DEFAULT),
  wait: ignored("all secrets of a round are read before anything is rendered, so there is nothing to wait for"),
  sandbox_path: ignored("templates read no files"),
  function_denylist: ignored("no function of templates here reads files or runs programs"),
  function_blacklist: ignored("no function of templates here reads files or runs programs"),
} satisfies ConfigFields;

export const COMMAND_FIELDS = {
  command: commandLine("To run after a change."),
  timeout: duration("Longest time for it.", COMMAND_SECONDS_DEFAULT),
} satisfies ConfigFields;

/** Coffer's own: what else may follow a change. */
export const NOTIFY_FIELDS = {
  http: text(
    "URL to POST to; on this machine, unless remote is set. The request holds no secret, only the file's name.",
  ),
  remote: flag("Let the URL be on another machine.", false),
  signal: text("Signal to send, as SIGHUP."),
  process: text("To processes whose program has this name."),
  timeout: duration("Longest time for one attempt.", 5),
} satisfies ConfigFields;

export const TEMPLATE_CONFIG_FIELDS = {
  exit_on_retry_failure: flag("End when a template still cannot be rendered after the attempts of vault.retry.", false),
  static_secret_render_interval: duration("How often secrets without a lease are read again.", RENDER_SECONDS_DEFAULT),
  lease_renewal_threshold: share("Share of a lease after which it is renewed or replaced.", 0.67),
  max_connections_per_host: ignored("secrets are read one after another"),
} satisfies ConfigFields;

export const ENV_TEMPLATE_FIELDS = {
  contents: text("The template."),
  source: text("File of the template, instead of contents."),
  left_delimiter: text("What opens an action.", "{{"),
  right_delimiter: text("What closes it.", "}}"),
  error_on_missing_key: flag("Whether a key that the secret lacks is an error; else it prints <no value>.", false),
} satisfies ConfigFields;

export const EXEC_FIELDS = {
  command: commandLine("The program and its arguments; `coffer exec -- COMMAND` replaces it."),
  restart_on_secret_changes: word("Whether the program is started anew when a secret has changed.", "always", [
    "always",
    "never",
  ]),
  restart_stop_signal: text("Signal that ends it then, and when the agent ends.", "SIGTERM"),
  restart_kill_timeout: duration("How long after that signal it is killed. Coffer's own.", 30),
} satisfies ConfigFields;

export const TELEMETRY_FIELDS = {
  disable_hostname: ignored(PUSHED),
  prefix_filter: ignored(PUSHED),
  usage_gauge_period: ignored(PUSHED),
  maximum_gauge_cardinality: ignored(PUSHED),
  prometheus_retention_time: ignored("metrics are read from /agent/v1/metrics and kept while the agent runs"),
  statsd_address: ignored(PUSHED),
  statsite_address: ignored(PUSHED),
  dogstatsd_addr: ignored(PUSHED),
  dogstatsd_tags: ignored(PUSHED),
} satisfies ConfigFields;

export const LISTENER_FIELDS = {
  type: text("tcp or unix; may stand as a label instead."),
  address: text("Where it listens: 127.0.0.1:8200 (the default of tcp), or the path of the socket."),
  tls_disable: flag("Plain HTTP on tcp.", false),
  tls_cert_file: text("PEM file with the listener's certificate and chain."),
  tls_key_file: text("PEM file with its key."),
  require_request_header: flag("Refuse requests without X-Vault-Request: true, which no web page can send.", false),
  role: word("metrics_only: nothing but /agent/v1/metrics.", "default", ["default", "metrics_only"]),
  socket_mode: modeText("Permissions of the socket in octal.", "0600"),
  socket_user: ignored("the socket belongs to who runs the agent"),
  socket_group: ignored("the socket belongs to who runs the agent"),
  remote: flag("Allow an address that other machines can reach. Coffer's own.", false),
} satisfies ConfigFields;

export const AGENT_API_FIELDS = {
  enable_quit: flag("POST /agent/v1/quit ends the agent.", false),
} satisfies ConfigFields;

const WHOSE_TOKEN =
  'Whether requests without a token of their own get the agent\'s; "force": all of them, whatever they bring.';
export const API_PROXY_FIELDS = {
  use_auto_auth_token: tokenUse(WHOSE_TOKEN),
  enforce_consistency: word("Whether later requests tell the server's state of earlier ones.", "never", [
    "never",
    "always",
  ]),
  when_inconsistent: word("What becomes of a request that its server is behind for.", "fail", ["fail", "forward"]),
} satisfies ConfigFields;

export const CACHE_FIELDS = {
  use_auto_auth_token: tokenUse("The older place of api_proxy's setting."),
  persist: ignored("the cache is in memory alone; the agent's own token and credentials are kept by state_file"),
  cache_static_secrets: ignored("answers without a lease are never kept"),
  static_secret_token_capability_refresh_interval: ignored("answers without a lease are never kept"),
} satisfies ConfigFields;

/** For the parser's list of known names, and the reference. */
export interface AgentStanza {
  readonly name: string;
  readonly labels: readonly string[];
  readonly doc: string;
  readonly fields: ConfigFields;
  /** Blocks inside, by their names. */
  readonly blocks?: readonly AgentStanza[];
}

const notify: AgentStanza = {
  name: "notify",
  labels: [],
  doc: "Whom to tell of a change, besides.",
  fields: NOTIFY_FIELDS,
};

export const STANZAS: readonly AgentStanza[] = [
  {
    ...{ name: "vault", labels: [], doc: "The server.", fields: VAULT_FIELDS },
    blocks: [{ name: "retry", labels: [], doc: "How often calls are tried again.", fields: RETRY_FIELDS }],
  },
  {
    ...{ name: "auto_auth", labels: [], doc: "How the agent logs in, and where it leaves its token.", fields: {} },
    blocks: [
      { name: "method", labels: ["type"], doc: "How to log in; `config` belongs to the type.", fields: METHOD_FIELDS },
      { name: "sink", labels: ["type"], doc: "A file for the token, with its own `config`.", fields: SINK_FIELDS },
      { name: "config", labels: [], doc: "Of a sink of the type file.", fields: FILE_SINK_FIELDS },
    ],
  },
  {
    ...{ name: "template", labels: [], doc: "A file to render.", fields: TEMPLATE_FIELDS },
    blocks: [{ name: "exec", labels: [], doc: "The newer form of command.", fields: COMMAND_FIELDS }, notify],
  },
  { name: "template_config", labels: [], doc: "How all templates are rendered.", fields: TEMPLATE_CONFIG_FIELDS },
  { name: "env_template", labels: ["NAME"], doc: "A variable of the program in exec.", fields: ENV_TEMPLATE_FIELDS },
  { name: "exec", labels: [], doc: "A program to run with the variables, see `coffer exec`.", fields: EXEC_FIELDS },
  {
    name: "listener",
    labels: ["type"],
    doc: "Where the agent takes requests to the server, which it passes on.",
    fields: LISTENER_FIELDS,
    blocks: [{ name: "agent_api", labels: [], doc: "The agent's own endpoints.", fields: AGENT_API_FIELDS }],
  },
  { name: "api_proxy", labels: [], doc: "How they are passed on.", fields: API_PROXY_FIELDS },
  { name: "cache", labels: [], doc: "Keeps and renews answers with leases and tokens.", fields: CACHE_FIELDS },
  { name: "telemetry", labels: [], doc: "Accepted from existing files.", fields: TELEMETRY_FIELDS },
];
