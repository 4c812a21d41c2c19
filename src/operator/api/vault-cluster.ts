// VaultCluster: a Coffer server that the operator runs. Its access rules bound what SecretBindings can ask for.
import { backup } from "./backup.ts";
import { ageColumn, conditions, observedGeneration, readyColumns } from "./conditions.ts";
import { duration } from "./duration.ts";
import { choice, flag, type Infer, integer, list, message, object, optional, text, withDefault } from "./fields.ts";
import { labelName, labelSelector, localRef, objectName, resources } from "./references.ts";
import type { Definition, Resource } from "./resource.ts";
import { podTemplate, scheduling } from "./scheduling.ts";
import { storage, storageTypes } from "./storage.ts";

/** The storage as it is meant: what `type` says, else what goes with the number of replicas. */
const STORAGE_OF = (self: string) =>
  `(has(${self}.storage.type) ? ${self}.storage.type : ${self}.replicas > 1 ? 'etcd' : 'embedded')`;

const tls = object(
  "The server's certificate. Without `secretRef` the operator issues it from a CA of its own and renews it; no pod restarts for that.",
  {
    secretRef: optional(
      localRef(
        "A Secret of type kubernetes.io/tls to use instead; `ca.crt` in it, if there, is what clients are given to trust.",
        "Name of the Secret.",
      ),
    ),
    duration: withDefault(duration("How long an issued certificate is valid."), "2160h"),
    renewBefore: withDefault(duration("How long before its end it is renewed."), "720h"),
  },
  [
    {
      rule: "!self.duration.matches('^([0-9]{1,9}[smh])+$') || !self.renewBefore.matches('^([0-9]{1,9}[smh])+$') || duration(self.renewBefore) < duration(self.duration)",
      message: "renewBefore must be shorter than duration",
    },
  ],
);

/** Path templates bound policies, so they hold no glob but a final one. */
const pathTemplate = text(
  "A path, in which {namespace} stands for the binding's namespace; a final * matches all below.",
  512,
  [
    {
      rule: "!self.startsWith('/') && !self.contains('..') && !self.contains('//')",
      message: "write the path from its mount on, without a leading /, // or .., such as secret/{namespace}/*",
    },
    {
      rule: "self.matches('^([A-Za-z0-9_.@~:=/-]|[{]namespace[}])*[*]?$')",
      message:
        "a path may hold letters, digits, _ . @ ~ : = - and /, the placeholder {namespace}, and * as its last character",
    },
  ],
);

const accessRule = object("What SecretBindings of some namespaces may ask for.", {
  namespaceSelector: withDefault(labelSelector("The namespaces by their labels; empty means all."), {}),
  paths: list("Paths that they may read.", pathTemplate, { min: 1, max: 32 }),
});

const admin = object("A ServiceAccount whose token is an administrator's way in.", {
  namespace: labelName("Its namespace."),
  serviceAccount: objectName("Its name."),
});

const access = object(
  "What SecretBindings may ask for, and who administers. The server enforces it, whatever the operator does.",
  {
    rules: withDefault(list("A binding's path must be allowed by one of these.", accessRule, { max: 64 }), [
      { namespaceSelector: {}, paths: ["secret/{namespace}/*"] },
    ]),
    admins: withDefault(
      list(
        "ServiceAccounts that may log in as administrators. Written when the server initialises itself; the operator cannot change it afterwards, an administrator can, on the server.",
        admin,
        { max: 16, keys: ["namespace", "serviceAccount"] },
      ),
      [],
    ),
  },
  [
    {
      rule: "self.admins == oldSelf.admins",
      message: "admins are written when the server initialises itself: let an administrator change them on the server",
    },
  ],
);

const spec = object(
  "The cluster as it should be.",
  {
    unsealConfigRef: localRef("The UnsealConfig, in the same namespace.", "Name of the UnsealConfig."),
    replicas: withDefault(integer("Number of server pods. All of them are active.", 1, 64), 1),
    image: optional(text("The server's image; left out, the operator's own.", 512)),
    storage: withDefault(storage, { etcd: { members: 3 } }),
    // These two are written out: the API server checks a default against the rules before it fills in the members' own.
    tls: withDefault(tls, { duration: "2160h", renewBefore: "720h" }),
    access: withDefault(access, { admins: [] }),
    default: withDefault(flag("SecretBindings without vaultRef mean this cluster when there are several."), false),
    backup: optional(backup),
    audit: withDefault(
      object("The audit log.", {
        stdout: withDefault(flag("Write it, with secrets as HMACs, to the container's output."), false),
      }),
      {},
    ),
    resources: withDefault(resources, { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "512Mi" } }),
    scheduling: withDefault(scheduling, {}),
    podTemplate: withDefault(podTemplate, {}),
    suspend: withDefault(flag("The operator leaves everything as it is."), false),
    deletionPolicy: withDefault(
      choice("What happens to the volumes when the cluster is deleted.", ["Retain", "Delete"]),
      "Retain",
    ),
  },
  [
    {
      rule: "!has(self.storage.type) || self.storage.type != 'embedded' || self.replicas == 1",
      message: "embedded storage belongs to one pod: set replicas to 1, or choose etcd or postgres for a new cluster",
    },
    {
      rule: `${STORAGE_OF("self")} == ${STORAGE_OF("oldSelf")}`,
      message:
        "the storage cannot change once the cluster exists, and without storage.type it goes with the number of replicas: set storage.type to what it is (embedded for one replica, etcd for several), or create another cluster and move the data",
    },
  ],
);

const member = object("A server pod.", {
  name: text("Name of the pod.", 253),
  sealed: optional(flag("Whether it is sealed; absent while it does not answer.")),
  reason: optional(message("What it waits for or what is wrong.", 1024)),
});

const etcdMember = object("An etcd member that the operator runs.", {
  name: text("Name of the member and of its pod.", 253),
  id: optional(message("Its number in etcd, in hexadecimal, as etcdctl shows it.", 32)),
  state: choice("How it is.", ["Healthy", "Joining", "Starting", "Unreachable", "DataLost", "Leaving"]),
  leader: optional(flag("Whether it leads; etcd's own affair, clients go to any.")),
  version: optional(message("Its version of etcd.", 64)),
  reason: optional(message("What it waits for or what is wrong.", 1024)),
});

const etcdStatus = object("The etcd cluster that the operator runs.", {
  members: withDefault(list("Its members.", etcdMember, { max: 16, keys: ["name"] }), []),
  step: optional(message("What the operator is doing to it.", 512)),
});

const status = object("The cluster as it is.", {
  observedGeneration,
  phase: optional(
    choice("A summary for people; programs look at the conditions.", [
      "Pending",
      "Initializing",
      "Unsealing",
      "Running",
      "Degraded",
      "Suspended",
    ]),
  ),
  address: optional(message("Where clients reach it.", 512)),
  initialized: optional(flag("Whether it has been initialised.")),
  sealed: optional(flag("Whether any of its pods is sealed.")),
  version: optional(message("The server's version.", 64)),
  replicas: optional(integer("Server pods that there are.", 0, 128)),
  readyReplicas: optional(integer("Server pods that serve.", 0, 128)),
  selector: optional(message("The label selector of the server pods.", 512)),
  members: withDefault(list("The server pods.", member, { max: 128, keys: ["name"] }), []),
  storage: optional(choice("Where the data lies.", storageTypes)),
  etcd: optional(etcdStatus),
  caBundle: optional(
    message("Name of the ConfigMap that holds the CA's certificate as ca.crt, in every namespace with a binding.", 253),
  ),
  conditions,
});

export type VaultClusterSpec = Infer<typeof spec>;
export type VaultClusterStatus = Infer<typeof status>;
export type VaultCluster = Resource<VaultClusterSpec, VaultClusterStatus>;

/** What the spec means by its storage. */
export function storageTypeOf({ storage: { type }, replicas }: VaultClusterSpec): (typeof storageTypes)[number] {
  return type ?? (replicas > 1 ? "etcd" : "embedded");
}

/** Whether the operator runs etcd members for the cluster. */
export function runsEtcd({ spec }: Pick<VaultCluster, "spec">): boolean {
  return storageTypeOf(spec) === "etcd" && spec.storage.etcd.external === undefined;
}

export const vaultCluster: Definition<VaultClusterSpec, VaultClusterStatus> = {
  kind: "VaultCluster",
  plural: "vaultclusters",
  singular: "vaultcluster",
  shortName: "vc",
  description: "A Coffer server, run by the operator: it initialises and unseals itself through its UnsealConfig.",
  spec,
  status,
  rules: [
    {
      rule: "self.metadata.name.size() <= 40 && !self.metadata.name.contains('.')",
      message: "choose a name of at most 40 characters without dots: pods and Services are named after it",
    },
  ],
  scale: {
    specReplicasPath: ".spec.replicas",
    statusReplicasPath: ".status.replicas",
    labelSelectorPath: ".status.selector",
  },
  conditions: {
    Ready: "It is initialised, unsealed, configured and serves.",
    Initialized: "The storage has been initialised.",
    Unsealed: "Every pod is unsealed.",
    TLSReady: "There is a valid certificate.",
    UpToDate: "Every server pod is as the spec says.",
    EtcdHealthy: "Every etcd member that the operator runs is healthy.",
    VolumesSized: "Every volume has the size that the spec says; there once a volume was to grow.",
    ConfigSynced: "Mounts, policies and roles are as the resources say.",
    Reconciling: "A change is being worked on.",
    Stalled: "Nothing will happen until someone changes something; the message says what.",
  },
  reasons: {
    Running: "All is well.",
    UnsealConfigNotFound: "The UnsealConfig that it names does not exist.",
    UnsealConfigInvalid: "The UnsealConfig lacks something, such as its Secret.",
    SecretNotFound: "The Secret of `tls.secretRef` does not exist or lacks a key.",
    CertificateIssued: "The operator issued the certificate.",
    CertificateInvalid: "The given certificate cannot be used.",
    CertificateProvided: "The certificate comes from the given Secret.",
    PodsStarting: "The pods are not running yet.",
    PodFailing: "A pod does not start; the message has the kubelet's words.",
    Initializing: "The server is being initialised.",
    Initialized: "The server has been initialised.",
    Sealed: "The server is sealed; the message has the seal's own reason.",
    Unsealed: "The server is unsealed.",
    Unreachable: "The server does not answer.",
    Configuring: "Mounts, policies and roles are being written.",
    ConfigFailed: "The server refused a part of the configuration.",
    Configured: "Mounts, policies and roles are written.",
    EtcdStarting: "The etcd members are starting, the servers follow.",
    EtcdUnavailable: "Fewer etcd members than a majority work; the message says which.",
    EtcdRepairing: "An etcd member is being replaced, added or removed.",
    EtcdDegraded: "An etcd member does not work, a majority does.",
    EtcdMembersHealthy: "Every etcd member works.",
    EtcdImageMissing: "Nobody says which image etcd members run.",
    StorageInvalid: "What the storage needs is missing, such as its Secret.",
    UpdateRunning: "Server pods are being replaced, one after another.",
    UpdateHalted: "A new server pod does not get ready; the old ones go on serving.",
    Updated: "Every server pod is as the spec says.",
    VolumeResizing: "The volume is growing.",
    VolumeRefused: "The volume cannot grow; the message says why.",
    VolumesGrown: "Every volume has the size that the spec says.",
    NamespaceNotManaged: "The operator may not run clusters in this namespace.",
    Suspended: "`suspend` is set.",
    Deleting: "It is being removed.",
  },
  columns: [
    { name: "Storage", type: "string", jsonPath: ".status.storage", description: "Where the data lies." },
    { name: "Replicas", type: "integer", jsonPath: ".spec.replicas", description: "Pods that there should be." },
    { name: "Serving", type: "integer", jsonPath: ".status.readyReplicas", description: "Pods that serve." },
    { name: "Sealed", type: "boolean", jsonPath: ".status.sealed", description: "Whether any pod is sealed." },
    {
      name: "Address",
      type: "string",
      jsonPath: ".status.address",
      description: "Where clients reach it.",
      priority: 1,
    },
    ...readyColumns,
    ageColumn,
  ],
  example: `apiVersion: coffer.dev/v1alpha1
kind: VaultCluster
metadata: {name: main, namespace: coffer-system}
spec:
  unsealConfigRef: {name: kms}
`,
};
