// What the injector tells the agent: one JSON document in the agent container's COFFER_AGENT_CONFIG. It names secrets,
// never holds one. This file is the only definition; the injector writes it, the agent reads it.
import { boolean, type Infer, list, map, number, object, oneOf, optional, string, withDefault } from "./schema.ts";

/** Name of the environment variable that carries the document. */
export const AGENT_CONFIG_VARIABLE = "COFFER_AGENT_CONFIG";

const source = object({
  /** Unique within the document. */
  name: string,
  /** Logical path, without the "data/" of KV v2: "secret/team/db". */
  path: string,
  /** KV v2 version, 0 is the latest. */
  version: withDefault(number, 0),
  /** Missing at start is no error when true. */
  optional: withDefault(boolean, false),
  /**
   * As templates of vault-k8s read: `path` is one of the API ("secret/data/team/db", with parameters behind "?") or a
   * logical one, and the data is the whole of the answer's, of KV v2 with "data" and "metadata" in it.
   */
  raw: optional(boolean),
});

/** Go's template language with the functions of consul-template: docs/guides/templates.md. */
const template = object({
  text: string,
  /** A key that is not there is an error; otherwise it prints as "<no value>". */
  errorOnMissingKey: withDefault(boolean, false),
  /** What opens and closes an action; "{{" and "}}" when left out. */
  leftDelimiter: optional(string),
  rightDelimiter: optional(string),
  /** The names of sources as the template has them, with their names in this document. */
  sources: withDefault(map(string), {}),
});

/** All that is named is done. None of it carries a secret. */
const changeHook = object({
  /** Sent to processes whose program has that name. */
  signal: optional(string),
  process: optional(string),
  /** Gets a POST that names the files. */
  http: optional(string),
  /** For one attempt. */
  httpSeconds: optional(number),
  /** A program and its arguments. */
  command: optional(list(string)),
  commandSeconds: optional(number),
});

/** Keys of the source whose values are PEM, and the password. */
const keystore = object({
  certificate: withDefault(string, "certificate"),
  privateKey: withDefault(string, "private_key"),
  /** A text, or a list of them; absent: "ca_chain" or "issuing_ca", if there are any. */
  chain: optional(string),
  /** Under which name the keystore has the key. */
  alias: withDefault(string, "app"),
  /** `source`: another one than the file's. */
  password: object({ source: optional(string), key: string }),
});

const file = object({
  /** Absolute path in the agent container. */
  path: string,
  /** What is written; for a "Template" what its dot begins with, "" for nothing. */
  source: withDefault(string, ""),
  /**
   * "Line": as Raw, and a line break. "VaultMap", "VaultJSON": what vault-k8s writes when there is no template, a line
   * for each key with its value as Go prints it, or JSON on one line.
   */
  format: oneOf(
    "JSON",
    "YAML",
    "Env",
    "Properties",
    "Raw",
    "PerKey",
    "Line",
    "VaultMap",
    "VaultJSON",
    "Template",
    "PKCS12",
    "JKS",
  ),
  /** The key that "Raw" and "Line" write. */
  key: optional(string),
  /** What "Template" writes. */
  template: optional(template),
  /** What "PKCS12" and "JKS" are made of. */
  keystore: optional(keystore),
  /** What follows when the file has changed, after the first time. */
  onChange: optional(changeHook),
  /** Octal, as "0440". */
  mode: withDefault(string, "0440"),
  /** Numbers of its owner and group, where they are not the agent's own. */
  owner: optional(number),
  group: optional(number),
  /** Its last content is kept beside it, as PATH.bak. */
  backup: optional(boolean),
  /** False: the directory must be there. */
  createDirectories: optional(boolean),
});

const environment = object({
  /** Absolute path of the file that holds the variables. */
  path: string,
  /**
   * "FileKeyRef": NAME='literal' lines as kubelet reads them (a value with a single quote is an error).
   * "FileKeyRefPlain": NAME=value lines, as kubelets of 1.34 read them (quotes would be part of the value).
   * "Nul": NAME=value records, each ended by a NUL byte, for the static helper.
   */
  format: oneOf("FileKeyRef", "FileKeyRefPlain", "Nul"),
  variables: list(object({ name: string, source: string, key: string })),
});

/** Where the agent takes requests to the server: docs/guides/agent-proxy.md. */
const listener = object({
  type: oneOf("tcp", "unix"),
  /** "127.0.0.1:8200", or the path of the socket. */
  address: string,
  /** An address that others than the pod can reach is refused without this. */
  remote: optional(boolean),
  /** Requests without "X-Vault-Request: true" are refused. */
  requireRequestHeader: withDefault(boolean, false),
  /** Nothing but /agent/v1/metrics. */
  metricsOnly: optional(boolean),
  /** Whether /agent/v1/quit ends the agent, or is only answered, where something else ends it. Absent: refused. */
  quit: optional(oneOf("End", "Acknowledge")),
  /** Octal, of the socket; "0600" when left out. */
  socketMode: optional(string),
  tls: optional(object({ certificateFile: string, keyFile: string })),
});

export const agentConfigSchema = object({
  /** Base address of the server, "https://main.coffer-system.svc:8200". */
  address: string,
  caFile: optional(string),
  /** Of the server; absent is the root. */
  namespace: optional(string),
  tls: optional(
    object({
      skipVerify: optional(boolean),
      serverName: optional(string),
      /** Files with the certificate that is shown to the server, and its key. */
      certificateFile: optional(string),
      keyFile: optional(string),
    }),
  ),
  /** For one answer. */
  timeoutSeconds: optional(number),
  /** Attempts beyond the first. */
  retries: optional(number),
  /** Login by the Kubernetes method: POST auth/<mount>/login {role, jwt}. */
  auth: object({ mount: string, role: string, tokenFile: string }),
  sources: list(source),
  files: list(file),
  environments: withDefault(list(environment), []),
  /** "Init" renders once and ends; "Sidecar" goes on refreshing until SIGTERM. */
  mode: oneOf("Init", "Sidecar"),
  refreshIntervalSeconds: withDefault(number, 300),
  jitterPercent: withDefault(number, 10),
  /** Whether the server is asked to tell changes of KV secrets, as it is when this is absent. */
  events: optional(boolean),
  /** Share of a lease after which its credential is replaced; both are valid during the rest. */
  replaceLeaseAt: optional(number),
  /** Whether the token is revoked when the agent ends, as it is when this is absent. */
  revokeOnExit: optional(boolean),
  listeners: optional(list(listener)),
  /** How requests to the listeners are passed on. */
  proxy: optional(
    object({
      /** Whose token they go with: their own, the agent's if they bring none, or always the agent's. */
      useAutoAuthToken: withDefault(oneOf("Never", "WhenMissing", "Force"), "Never"),
      /** Whether later requests tell the server's state of earlier ones, and who handles those that it is behind for. */
      consistency: optional(oneOf("Fail", "Forward")),
      /** Whether the agent ends when a listener cannot be opened. It tries again without this. */
      exitOnError: optional(boolean),
    }),
  ),
  /** Whether answers with leases and tokens are kept and renewed. */
  cache: optional(boolean),
  /** There once everything has been rendered; the startup probe looks for it. "" for none. */
  readyFile: string,
  /** Keeps the token and leased credentials over a restart; on a tmpfs, for it holds them as they are. */
  stateFile: optional(string),
  /** Files that could not be refreshed for so long are removed, and the ready file with them. Absent: never. */
  maxStaleSeconds: optional(number),
  /** For log lines only: the bindings this pod was injected for. */
  labels: withDefault(map(string), {}),
});

export type AgentConfig = Infer<typeof agentConfigSchema>;
export type ChangeHook = Infer<typeof changeHook>;
export type ListenerConfig = Infer<typeof listener>;
