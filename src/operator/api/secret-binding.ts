// SecretBinding: which secrets which pods of its namespace receive, as files and as environment variables, and which
// Kubernetes Secret is kept of them (secret-delivery.ts).
// One secret is named by `path`; several are listed in `sources` and then named in every file and variable.
import { ageColumn, conditions, observedGeneration, readyColumns } from "./conditions.ts";
import { duration } from "./duration.ts";
import {
  choice,
  type Field,
  flag,
  type Infer,
  integer,
  list,
  message,
  object,
  optional,
  type Rule,
  text,
  time,
  withDefault,
} from "./fields.ts";
import { labelName, objectName, podSelector } from "./references.ts";
import type { Definition, Resource } from "./resource.ts";
import { atomic, secretState, secretTarget } from "./secret-delivery.ts";

/** Name of the one source of a binding that has `path`. */
export const ONLY_SOURCE = "default";

/** A path becomes part of a policy, so what means something there (*, +, braces, quotes) is not let in. */
const secretPath = (description: string) =>
  text(description, 512, [
    {
      rule: "!self.startsWith('/') && !self.contains('..')",
      message: "write the path from its mount on, without a leading / and without .., such as secret/team/db",
    },
    {
      rule: "self.matches('^/?[A-Za-z0-9_.@~:=-]+(/[A-Za-z0-9_.@~:=-]+)*$')",
      message:
        "a path may hold letters, digits and _ . @ ~ : = -, in parts separated by single slashes, and does not end with one",
    },
  ]);

const source = object("A secret.", {
  name: labelName("How files and variables of this binding name it."),
  path: secretPath("The secret's path, without the data/ of KV version 2: secret/team/db."),
  version: withDefault(integer("Version of a KV version 2 secret; 0 is the latest.", 0, Number.MAX_SAFE_INTEGER), 0),
  optional: withDefault(flag("The pod starts although the secret does not exist."), false),
});

/** All of a pod must fit into the agent's environment, of which the injector takes 96 KiB. */
const TEMPLATE_LENGTH_MAX = 16_384;
const sourceName = optional(text("Name of the source; may be left out when there is only one.", 63));
const key = text("A key of the secret.", 256);

const keystore = object("What a keystore is made of: keys of the secret whose values are PEM, and its password.", {
  certificate: withDefault(text("The key with the certificate.", 256), "certificate"),
  privateKey: withDefault(text("The key with the private key, not encrypted.", 256), "private_key"),
  chain: optional(
    text("The key with the certificates above it; left out, ca_chain or issuing_ca, where the secret has one.", 256),
  ),
  alias: withDefault(
    text("The name of the entry in the keystore.", 63, [
      {
        rule: "self.matches('^[A-Za-z0-9_.-]+$')",
        message: "an alias may hold letters, digits, _ . and -",
      },
    ]),
    "app",
  ),
  passwordSource: optional(text("Name of the source with the password; left out, that of the file.", 63)),
  passwordKey: text("The key with the password, which is of 1 to 1024 printable characters of ASCII.", 256),
});

const file = object(
  "A file.",
  {
    path: text("Where it is, below mountPath. For PerKey, the directory that gets one file for each key.", 255, [
      {
        rule: "!self.startsWith('/') && !self.contains('..')",
        message: "write the file's path relative to mountPath, without a leading / and without .., such as db.json",
      },
      {
        rule: "self.matches('^/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$')",
        message: "a file's path may hold letters, digits, _ . and -, in parts separated by single slashes",
      },
    ]),
    source: sourceName,
    format: withDefault(
      choice(
        "JSON, YAML, Env and Properties write all keys; Raw writes the value of `key` alone; PerKey writes each key to a file of its own; Template writes what `template` makes of them; PKCS12 and JKS write a keystore of a certificate and its private key, as `keystore` says.",
        ["JSON", "YAML", "Env", "Properties", "Raw", "PerKey", "Template", "PKCS12", "JKS"],
      ),
      "JSON",
    ),
    key: optional(key),
    template: optional(
      text(
        "In Go's template language with the functions of consul-template. The dot holds the keys of the source, when there is one.",
        TEMPLATE_LENGTH_MAX,
      ),
    ),
    keystore: optional(keystore),
    errorOnMissingKey: optional(
      flag(
        "Whether a key that the template names and the secret lacks keeps the pod waiting, as when this is left out; with false it prints as nothing known, as in Go.",
      ),
    ),
    mode: withDefault(
      text("Permissions in octal, quoted.", 4, [
        {
          rule: "self.matches('^0[0-7]{3}$')",
          message: 'write the mode as four octal digits in quotes, such as "0440"',
        },
      ]),
      "0440",
    ),
  },
  [
    {
      rule: "(self.format == 'Raw') == has(self.key)",
      message: "set key with format Raw, whose file holds that one value, and with no other format",
    },
    {
      rule: "(self.format == 'Template') == has(self.template)",
      message: "set template with format Template, whose file it describes, and with no other format",
    },
    {
      rule: "(self.format in ['PKCS12', 'JKS']) == has(self.keystore)",
      message: "set keystore with format PKCS12 or JKS, whose file it describes, and with no other format",
    },
  ],
);

const variable = object("An environment variable.", {
  name: text("Name of the variable.", 253, [
    {
      rule: "self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
      message: "a variable's name holds letters, digits and _ and does not begin with a digit",
    },
  ]),
  source: sourceName,
  key,
});

const unique = (member: string, what: string): Rule => ({
  rule: `self.all(a, self.exists_one(b, b.${member} == a.${member}))`,
  message: `every ${what} must be there only once: rename or remove one`,
});

/** Rules between the sources and what names them, the same for files and variables; `exempt` may name none of several. */
const sourceRules = (member: "files" | "env", what: string, exempt = ""): readonly Rule[] => [
  {
    rule: `self.${member}.all(x, !has(x.source) || (has(self.sources) ? self.sources.exists(s, s.name == x.source) : x.source == '${ONLY_SOURCE}'))`,
    message: `every source in ${member} must be the name of one of spec.sources; with spec.path leave it out`,
  },
  {
    rule: `!has(self.sources) || self.sources.size() == 1 || self.${member}.all(x, ${exempt}has(x.source))`,
    message: `there are several sources: say for every ${what} in ${member} which source it comes from`,
  },
];

const rules: readonly Rule[] = [
  {
    rule: "has(self.path) != has(self.sources)",
    message: "set either path, for one secret, or sources, for several",
  },
  {
    rule: "self.files.size() > 0 || self.env.size() > 0 || has(self.secret)",
    message: "set files, env or secret: without them nobody would receive anything",
  },
  {
    rule: "self.mode != 'Sidecar' || !self.refreshInterval.matches('^([0-9]{1,9}[smh])+$') || duration(self.refreshInterval) > duration('0s')",
    message: "a Sidecar is there to refresh: set refreshInterval to 10s or more, or mode to Init",
  },
  ...sourceRules("files", "file", "x.format == 'Template' || "),
  ...sourceRules("env", "variable"),
  {
    rule: `self.files.all(x, !has(x.keystore) || !has(x.keystore.passwordSource) || (has(self.sources) ? self.sources.exists(s, s.name == x.keystore.passwordSource) : x.keystore.passwordSource == '${ONLY_SOURCE}'))`,
    message: "every passwordSource of a keystore must be the name of one of spec.sources; with spec.path leave it out",
  },
  {
    rule: `!has(self.secret) || self.secret.data.all(x, !has(x.source) || (has(self.sources) ? self.sources.exists(s, s.name == x.source) : x.source == '${ONLY_SOURCE}'))`,
    message: "every source in secret.data must be the name of one of spec.sources; with spec.path leave it out",
  },
  {
    rule: "!has(self.secret) || !has(self.sources) || self.sources.size() == 1 || self.secret.data.all(x, has(x.template) || has(x.source))",
    message: "there are several sources: say for every key in secret.data which source it comes from",
  },
  {
    rule: "!has(self.secret) || !has(self.serviceAccounts) || self.secret.serviceAccountName in self.serviceAccounts",
    message: "secret.serviceAccountName must be one of serviceAccounts: name it there, or leave serviceAccounts out",
  },
];

const vaultRef = object("A VaultCluster.", {
  name: objectName("Its name."),
  namespace: labelName("Its namespace."),
});

const refreshInterval = duration("How often the secret is read again while the pod runs; 0s means never.", [
  {
    rule: "!self.matches('^([0-9]{1,9}[smh])+$') || duration(self) == duration('0s') || duration(self) >= duration('10s')",
    message: "set refreshInterval to 10s or more, or to 0s for never",
  },
]);

const onChange = object(
  "Whom the agent tells when files have changed, after the first time. Nothing secret is sent.",
  {
    http: optional(
      object(
        "A POST within the pod, tried again until the answer is 2xx. Its body names the files as the agent sees them.",
        {
          port: integer("Port on 127.0.0.1.", 1, 65_535),
          path: withDefault(
            text("Path of the request.", 255, [
              {
                rule: "self.matches('^/[A-Za-z0-9_.~/-]*$')",
                message: "write a path that begins with / and holds letters, digits and _ . ~ / -, such as /-/reload",
              },
            ]),
            "/",
          ),
        },
      ),
    ),
    signal: optional(
      object("A signal to a process by its name. The pod must set shareProcessNamespace.", {
        name: withDefault(
          choice("The signal.", ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH"]),
          "SIGHUP",
        ),
        process: text("Name of the program, without its directory.", 63, [
          {
            rule: "self.matches('^[A-Za-z0-9_.+-]+$')",
            message: "a program's name may hold letters, digits and _ . + -",
          },
        ]),
      }),
    ),
  },
  [{ rule: "has(self.http) || has(self.signal)", message: "set http, signal or both" }],
);

const maxStale = duration(
  "How long files stay that cannot be refreshed; then they are removed until they can. Left out, for ever.",
);

const mountPath = withDefault(
  text("Directory of the files in the containers.", 255, [
    {
      rule: "self.matches('^(/[A-Za-z0-9_.-]+)+$') && !self.contains('..')",
      message: "write mountPath as an absolute directory without .. and a final /, such as /coffer/secrets",
    },
  ]),
  "/coffer/secrets",
);

const names = (description: string, item: Field<string>) =>
  optional(list(description, item, { min: 1, max: 64, set: true }));

const spec = object(
  "Which secrets go to which pods.",
  {
    vaultRef: optional(vaultRef),
    selector: withDefault(
      podSelector(
        'Pods of this namespace by their labels, among those with the label coffer.dev/inject: "true"; empty means all of them.',
      ),
      {},
    ),
    serviceAccounts: names(
      "The ServiceAccounts whose pods receive the secrets; left out, every one of the namespace.",
      objectName("Name of a ServiceAccount."),
    ),
    path: optional(
      secretPath("The secret, when there is one: its path without the data/ of KV version 2, secret/team/db."),
    ),
    sources: optional(
      list("The secrets, when there are several.", source, {
        min: 1,
        max: 32,
        keys: ["name"],
        rules: [unique("name", "name of a source")],
      }),
    ),
    files: withDefault(
      list("Files to write.", file, { max: 32, keys: ["path"], rules: [unique("path", "path of a file")] }),
      [],
    ),
    env: withDefault(
      list("Environment variables to set.", variable, {
        max: 64,
        keys: ["name"],
        rules: [unique("name", "name of a variable")],
      }),
      [],
    ),
    envMethod: withDefault(
      choice(
        "How variables reach the container. FileKeyRef: by the kubelet (Kubernetes 1.35, or 1.34 with the gate EnvFiles). Helper: by a small program that starts the container's command, which the pod must then state. Auto: whichever the cluster has.",
        ["Auto", "FileKeyRef", "Helper"],
      ),
      "Auto",
    ),
    secret: optional(atomic(secretTarget(sourceName))),
    mountPath,
    containers: names(
      "The containers that receive the secrets; left out, all but init containers.",
      labelName("Name of a container."),
    ),
    mode: withDefault(
      choice(
        "Sidecar keeps the files up to date while the pod runs. Init writes them once before it starts. Auto is Sidecar, unless refreshInterval is 0s.",
        ["Auto", "Init", "Sidecar"],
      ),
      "Auto",
    ),
    refreshInterval: withDefault(refreshInterval, "5m"),
    maxStale: optional(maxStale),
    onChange: optional(onChange),
    suspend: withDefault(
      flag("The operator leaves the server as it is, and new pods do not receive the secrets."),
      false,
    ),
  },
  rules,
);

const status = object("What became of the binding.", {
  observedGeneration,
  vault: optional(message("The VaultCluster in use, as namespace/name.", 317)),
  policy: optional(message("Name of the policy on the server.", 512)),
  roles: withDefault(
    list("Roles of the Kubernetes auth method that carry the policy.", text("A role.", 512), { max: 64, set: true }),
    [],
  ),
  sources: withDefault(
    list(
      "The secrets as last seen.",
      object("A secret.", {
        name: text("Name of the source.", 63),
        version: optional(integer("Its version.", 0, Number.MAX_SAFE_INTEGER)),
        state: choice("Whether it can be read.", ["Fresh", "Missing", "Denied", "Unknown"]),
      }),
      { max: 32, keys: ["name"] },
    ),
    [],
  ),
  secret: optional(secretState),
  lastSyncTime: optional(time("When the server was last seen to agree with the binding.")),
  conditions,
});

export type SecretBindingSpec = Infer<typeof spec>;
export type SecretBindingStatus = Infer<typeof status>;
export type SecretBinding = Resource<SecretBindingSpec, SecretBindingStatus>;
export type BindingSource = Infer<typeof source>;

/** The secrets of a binding, whichever way they are written. */
export function sourcesOf(binding: {
  readonly path?: string | undefined;
  readonly sources?: readonly BindingSource[] | undefined;
}): readonly BindingSource[] {
  if (binding.sources !== undefined) return binding.sources;
  return binding.path === undefined ? [] : [{ name: ONLY_SOURCE, path: binding.path, version: 0, optional: false }];
}

export const secretBinding: Definition<SecretBindingSpec, SecretBindingStatus> = {
  kind: "SecretBinding",
  plural: "secretbindings",
  singular: "secretbinding",
  shortName: "sb",
  description:
    "Gives secrets to pods of its namespace. It grants only what the access rules of the VaultCluster allow to the namespace.",
  spec,
  status,
  conditions: {
    Ready: "Pods can receive the secrets: Synced, and every secret that is not optional exists.",
    Synced: "The operator accepted the binding; policy and roles are on the server. Pods are injected only then.",
    Delivered: "The Kubernetes Secret of `spec.secret` holds what it should.",
    Restarted: "The workloads of `spec.secret.restart` run with the content of the Kubernetes Secret.",
    Reconciling: "A change is being worked on.",
    Stalled: "Nothing will happen until someone changes something; the message says what.",
  },
  reasons: {
    Synced: "All is well.",
    PathNotAllowed: "The access rules of the VaultCluster do not allow a path to this namespace.",
    VaultNotFound: "There is no such VaultCluster, or none at all.",
    VaultAmbiguous: "There are several VaultClusters and none is the default: set vaultRef.",
    VaultNotReady: "The VaultCluster does not serve yet.",
    SecretMissing: "A secret does not exist.",
    AccessDenied: "The server did not let a secret be read.",
    Suspended: "`suspend` is set.",
    Delivered: "The Kubernetes Secret is as it should be.",
    NotEnabled: "The operator may not write Secrets in this namespace.",
    ServiceAccountMissing: "There is no ServiceAccount of that name.",
    SecretExists: "There is a Secret of that name that is somebody else's.",
    TargetMissing: "There is no Secret to merge into.",
    ContentInvalid: "What the Secret should hold cannot be made of the sources.",
    SecretRefused: "The API server did not take the Secret.",
    Restarted: "The workloads were restarted since the content changed.",
    RestartWaiting: "A restart waits for its interval or its window.",
    RestartFailed: "A workload could not be restarted.",
  },
  columns: [
    { name: "Vault", type: "string", jsonPath: ".status.vault", description: "The VaultCluster in use." },
    {
      name: "Secret",
      type: "string",
      jsonPath: ".status.secret.name",
      description: "The Kubernetes Secret that is kept.",
    },
    ...readyColumns,
    { name: "Last Sync", type: "date", jsonPath: ".status.lastSyncTime", description: "When the server last agreed." },
    ageColumn,
  ],
  example: `apiVersion: coffer.dev/v1alpha1
kind: SecretBinding
metadata: {name: db, namespace: team}
spec:
  selector: {matchLabels: {app: web}}
  path: secret/team/db
  files: [{path: db.json}]
  env: [{name: DB_PASSWORD, key: password}]
`,
};
