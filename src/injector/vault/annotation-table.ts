// Every annotation of vault-k8s, once: what it is called, how its value is written, what comes without it, and what
// Coffer makes of it. Reading, refusals and docs/reference/vault-annotations.md come from here. What it means is told by
// developer.hashicorp.com/vault/docs/deploy/kubernetes/injector/annotations; why some are refused, by ADR 22.
import {
  absolutePath,
  duration,
  fileMode,
  flag,
  fraction,
  jsonPatch,
  longText,
  names,
  objectName,
  port,
  quantity,
  relativePath,
  text,
  url,
  userId,
  type ValueType,
  wholeNumber,
  word,
} from "./value-types.ts";

export const VAULT_PREFIX = "vault.hashicorp.com/";

/**
 * "kept": does what it does there. "changed": does something else, which `doc` tells. "nothing": is read and has no
 * effect, because what it switches is not there to be switched. "refused": the pod is not created.
 */
export type Effect = "kept" | "changed" | "nothing" | "refused";

export interface Annotation<T> {
  /** Without the prefix. */
  readonly key: string;
  /** "-NAME" follows: never, always, or it may. */
  readonly named: "no" | "yes" | "maybe";
  readonly type: ValueType<T>;
  /** As a person would write it; undefined: there is none. */
  readonly fallback: string | undefined;
  readonly effect: Effect;
  readonly doc: string;
}

type Rest = Partial<Pick<Annotation<unknown>, "named" | "fallback" | "effect">>;

function annotation<T>(key: string, type: ValueType<T>, doc: string, rest: Rest = {}): Annotation<T> {
  return { key, type, doc, named: "no", fallback: undefined, effect: "kept", ...rest };
}

const named = { named: "yes" } as const;
const changed = { effect: "changed" } as const;
const nothing = { effect: "nothing" } as const;
const refused = { effect: "refused" } as const;
const off = { fallback: "false" } as const;
const on = { fallback: "true" } as const;

export const vaultAnnotations = {
  inject: annotation("agent-inject", flag, "Whether secrets are injected into the pod.", off),
  status: annotation(
    "agent-inject-status",
    text,
    "Written by the injector: `injected` makes it leave the pod alone. Other values mean nothing.",
  ),
  requestNamespace: annotation("agent-request-namespace", text, "Internal to vault-k8s.", nothing),

  secret: annotation(
    "agent-inject-secret",
    text,
    "Path of a secret, as the API has it (`secret/data/team/db`) or as the command line has it (`secret/team/db`); parameters may follow (`?version=2`). Without a template the file has a line for each key, or JSON.",
    named,
  ),
  template: annotation("agent-inject-template", longText, "Template of the file.", named),
  templateFile: annotation(
    "agent-inject-template-file",
    absolutePath,
    "A file with the template in the agent's container. There it takes `agent-copy-volume-mounts`.",
    { ...named, ...refused },
  ),
  leftDelimiter: annotation("agent-template-left-delim", text, "What opens an action in the template.", {
    ...named,
    fallback: "{{",
  }),
  rightDelimiter: annotation("agent-template-right-delim", text, "What closes an action in the template.", {
    ...named,
    fallback: "}}",
  }),
  file: annotation(
    "agent-inject-file",
    relativePath,
    "Name of the file below the directory of the secrets; without it, the secret's name.",
    named,
  ),
  mode: annotation("agent-inject-perms", fileMode, "Mode of the file, octal.", { ...named, fallback: "0644" }),
  command: annotation(
    "agent-inject-command",
    text,
    "What is done when the file has changed. Coffer's image has no shell, so it is one of `kill -HUP $(pidof NAME)`, `pkill -HUP NAME`, `killall -HUP NAME`, with any signal, with or without `sh -c`. The agent sees other containers' processes with `agent-share-process-namespace` and may signal those of its own user.",
    { ...named, ...changed },
  ),
  missingKey: annotation(
    "error-on-missing-key",
    flag,
    "Whether a key that the template names and the secret lacks is an error.",
    {
      ...named,
      ...off,
    },
  ),
  volumePath: annotation("secret-volume-path", absolutePath, "Directory of the files in the containers.", {
    named: "maybe",
    fallback: "/vault/secrets",
  }),
  preserveCase: annotation("preserve-secret-case", flag, "Whether the file keeps the capitals of the secret's name.", {
    named: "maybe",
    ...off,
  }),
  defaultTemplate: annotation(
    "agent-inject-default-template",
    word("map", "json"),
    "What files without a template look like.",
    {
      fallback: "map",
    },
  ),
  token: annotation("agent-inject-token", flag, "Whether the agent's token is written, to the file `token`.", off),
  containers: annotation(
    "agent-inject-containers",
    names,
    "Containers that receive the files; without it all. Init containers receive them too, unless they are not named.",
  ),

  image: annotation("agent-image", text, "Image of the agent. It is always Coffer's own.", nothing),
  configMap: annotation("agent-configmap", objectName, "ConfigMap with a whole configuration of Vault Agent.", refused),
  extraSecret: annotation("agent-extra-secret", objectName, "Secret that is mounted at `/vault/custom` in the agent."),
  copyMounts: annotation(
    "agent-copy-volume-mounts",
    text,
    "Container whose volume mounts the agent receives too, but for that of the ServiceAccount's token.",
  ),
  initFirst: annotation(
    "agent-init-first",
    flag,
    "Whether the agent starts before the pod's init containers; else after them.",
    off,
  ),
  prePopulate: annotation("agent-pre-populate", flag, "Whether containers wait until the files are there.", on),
  prePopulateOnly: annotation(
    "agent-pre-populate-only",
    flag,
    "Whether the agent ends when the files are there, and nothing is refreshed.",
    off,
  ),
  jsonPatch: annotation("agent-json-patch", jsonPatch, "Changes to the agent's container, when it stays."),
  initJsonPatch: annotation(
    "agent-init-json-patch",
    jsonPatch,
    "Changes to the agent's container with `agent-pre-populate-only`; else there is no second container that it could change.",
    changed,
  ),

  requestsCpu: annotation("agent-requests-cpu", quantity, "There 250m: an idle agent needs a hundredth of a core.", {
    ...changed,
    fallback: "10m",
  }),
  requestsMemory: annotation("agent-requests-mem", quantity, "There 64Mi.", { ...changed, fallback: "32Mi" }),
  limitsCpu: annotation("agent-limits-cpu", quantity, "There 500m; without it there is no limit.", changed),
  limitsMemory: annotation("agent-limits-mem", quantity, "Less than 64Mi is raised to that, with a warning.", {
    ...changed,
    fallback: "128Mi",
  }),
  requestsEphemeral: annotation("agent-requests-ephemeral", quantity, "Ephemeral storage that the agent asks for."),
  limitsEphemeral: annotation("agent-limits-ephemeral", quantity, "Ephemeral storage that the agent may use."),

  user: annotation(
    "agent-run-as-user",
    userId,
    "User of the agent. There 100; without it the pod's `runAsUser`, or 65532.",
    changed,
  ),
  group: annotation("agent-run-as-group", userId, "Group of the agent. There 1000.", { ...changed, fallback: "65532" }),
  sameUser: annotation(
    "agent-run-as-same-user",
    flag,
    "Whether the agent runs as the user of the first container, which must state one.",
    off,
  ),
  setSecurityContext: annotation(
    "agent-set-security-context",
    flag,
    "Whether user and group of the agent are set, or left to the cluster (OpenShift). All else of the Pod Security Standard `restricted` is set in any case.",
    { ...changed, ...on },
  ),
  shareProcesses: annotation(
    "agent-share-process-namespace",
    flag,
    "Whether the pod's containers see one another's processes (`shareProcessNamespace`).",
    off,
  ),
  tokenVolume: annotation(
    "agent-service-account-token-volume-name",
    objectName,
    "Projected volume of the pod with the token to log in with; without it the injector adds one, for the server's audience.",
    changed,
  ),

  revoke: annotation(
    "agent-revoke-on-shutdown",
    flag,
    "Whether the agent revokes its token when it ends. There off; here on, except that `agent-inject-token` with `agent-pre-populate-only` leaves the token to the pod.",
    { ...changed, ...on },
  ),
  revokeGrace: annotation("agent-revoke-grace", duration, "The agent revokes within two seconds of SIGTERM.", nothing),
  enableQuit: annotation(
    "agent-enable-quit",
    flag,
    "Answers `/agent/v1/quit` on the port of `agent-cache-listener-port`, so that what calls it goes on working. There it ends the agent; here the agent ends when the pod's containers have.",
    { ...changed, ...off },
  ),
  exitOnAuthError: annotation(
    "agent-auto-auth-exit-on-err",
    flag,
    "Whether a login that fails ends the agent. It tries on, with pauses.",
    nothing,
  ),

  service: annotation(
    "service",
    url,
    "Address of the server. Without it the default VaultCluster, or the only one. The address of a VaultCluster is verified by that one's CA.",
    changed,
  ),
  proxy: annotation("proxy-address", text, "A proxy on the way to the server.", refused),
  skipVerify: annotation(
    "tls-skip-verify",
    flag,
    "Whether any certificate of the server is believed, with a warning. Has no effect for a VaultCluster, whose CA is at hand.",
    { ...changed, ...off },
  ),
  tlsSecret: annotation(
    "tls-secret",
    objectName,
    "Secret that is mounted at `/vault/tls` in the agent, with certificates.",
  ),
  serverName: annotation("tls-server-name", text, "Name that the server's certificate must have."),
  caCert: annotation(
    "ca-cert",
    absolutePath,
    "File with the CA of the server, in the agent's container (`/vault/tls/ca.crt`).",
  ),
  caKey: annotation("ca-key", absolutePath, "Vault Agent does not use a CA's key.", nothing),
  clientCert: annotation("client-cert", absolutePath, "File with the certificate that the agent shows to the server."),
  clientKey: annotation("client-key", absolutePath, "File with its key."),
  retries: annotation(
    "client-max-retries",
    wholeNumber("number", 0, 100),
    "How often a call that failed is tried again.",
    {
      fallback: "2",
    },
  ),
  timeout: annotation("client-timeout", duration, "How long the agent waits for an answer. There 60s.", {
    ...changed,
    fallback: "15s",
  }),
  namespace: annotation("namespace", text, "Namespace of the server."),

  role: annotation("role", text, "Role to log in with. Required."),
  authType: annotation(
    "auth-type",
    word("kubernetes", "jwt"),
    "Auth method: both log in with the pod's ServiceAccount.",
    {
      ...changed,
      fallback: "kubernetes",
    },
  ),
  authPath: annotation("auth-path", text, "Where the auth method is mounted.", { fallback: "auth/kubernetes" }),
  authConfig: annotation(
    "auth-config",
    text,
    "Parameters of the auth method: `role`, `token-path` and `path` (the file with the token) are known.",
    { ...named, ...changed },
  ),
  authMinBackoff: annotation("auth-min-backoff", duration, "Pauses between logins start under a second.", nothing),
  authMaxBackoff: annotation("auth-max-backoff", duration, "Pauses between logins are bounded.", nothing),

  cache: annotation(
    "agent-cache-enable",
    flag,
    "A [proxy with a cache](../guides/agent-proxy.md) for the pod's containers, at 127.0.0.1. An agent that ends when the files are there has none.",
    off,
  ),
  cacheToken: annotation(
    "agent-cache-use-auto-auth-token",
    word("true", "false", "force"),
    "Whether requests without a token (`true`) or all of them (`force`) go with the agent's.",
    on,
  ),
  cachePort: annotation("agent-cache-listener-port", port, "Port of the proxy.", { fallback: "8200" }),
  cacheExit: annotation(
    "agent-cache-exit-on-err",
    flag,
    "Whether the agent ends when the port cannot be opened, rather than try again. There it is about a cache kept in a file.",
    { ...changed, ...off },
  ),

  exitOnRetryFailure: annotation(
    "template-config-exit-on-retry-failure",
    flag,
    "Whether a secret that cannot be read ends the agent. It tries on, and keeps what it has written.",
    nothing,
  ),
  renderInterval: annotation(
    "template-static-secret-render-interval",
    duration,
    "How often secrets without a lease are read.",
    { fallback: "5m" },
  ),
  maxConnections: annotation(
    "template-max-connections-per-host",
    wholeNumber("number", 0, 10_000),
    "The agent has one connection.",
    nothing,
  ),
  renewalThreshold: annotation(
    "template-lease-renewal-threshold",
    fraction,
    "Share of a lease after which the credential is replaced. There 0.9.",
    { ...changed, fallback: "0.66" },
  ),

  logLevel: annotation(
    "log-level",
    word("trace", "debug", "info", "warn", "error", "err"),
    "How much the agent logs.",
    {
      fallback: "info",
    },
  ),
  logFormat: annotation("log-format", word("standard", "json"), "How it logs. There `standard`.", {
    ...changed,
    fallback: "json",
  }),
  goMaxProcs: annotation("go-max-procs", text, "The agent is no Go program.", nothing),
  idleConnections: annotation("agent-disable-idle-connections", text, "Connections are closed when idle.", nothing),
  keepAlives: annotation("agent-disable-keep-alives", text, "Connections are closed when idle.", nothing),
  telemetry: annotation("agent-telemetry", text, "Telemetry of Vault Agent.", { ...named, ...nothing }),
} as const;

export type AnnotationName = keyof typeof vaultAnnotations;
