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
});

const file = object({
  /** Absolute path in the agent container. */
  path: string,
  source: string,
  format: oneOf("JSON", "YAML", "Env", "Properties", "Raw", "PerKey"),
  /** The key that "Raw" writes. */
  key: optional(string),
  /** Octal, as "0440". */
  mode: withDefault(string, "0440"),
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

export const agentConfigSchema = object({
  /** Base address of the server, "https://main.coffer-system.svc:8200". */
  address: string,
  caFile: optional(string),
  /** Login by the Kubernetes method: POST auth/<mount>/login {role, jwt}. */
  auth: object({ mount: string, role: string, tokenFile: string }),
  sources: list(source),
  files: list(file),
  environments: withDefault(list(environment), []),
  /** "Init" renders once and ends; "Sidecar" goes on refreshing until SIGTERM. */
  mode: oneOf("Init", "Sidecar"),
  refreshIntervalSeconds: withDefault(number, 300),
  jitterPercent: withDefault(number, 10),
  /** Created once everything has been rendered; the startup probe looks for it. */
  readyFile: string,
  /** For log lines only: the bindings this pod was injected for. */
  labels: withDefault(map(string), {}),
});

export type AgentConfig = Infer<typeof agentConfigSchema>;
