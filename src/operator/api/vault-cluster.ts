// VaultCluster: a Coffer server that the operator runs. Its access rules bound what SecretBindings can ask for.
import { ageColumn, conditions, observedGeneration, readyColumns } from "./conditions.ts";
import { duration } from "./duration.ts";
import { choice, flag, type Infer, integer, list, message, object, optional, text, withDefault } from "./fields.ts";
import { labelName, labelSelector, localRef, objectName, resources } from "./references.ts";
import type { Definition, Resource } from "./resource.ts";

const storage = object(
  "Where the (encrypted) data lies.",
  {
    type: withDefault(choice("`embedded`: on a volume of the one server pod.", ["embedded"]), "embedded"),
    size: withDefault(
      text("Size of the volume. It can grow, where the storage class lets it.", 32, [
        { rule: "isQuantity(self)", message: "write the size as a quantity, such as 1Gi" },
        {
          rule: "!isQuantity(self) || quantity(self).isGreaterThan(quantity('0'))",
          message: "the size must be more than 0, such as 1Gi",
        },
        {
          rule: "!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0",
          message: "a volume cannot shrink: set the size to what it was or more",
        },
      ]),
      "1Gi",
    ),
    storageClassName: optional(objectName("The storage class; left out, the default one of Kubernetes.")),
  },
  [
    {
      rule: "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
      message: "storageClassName cannot change once the cluster exists: create another cluster and move the data",
    },
  ],
);

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
    storage: withDefault(storage, {}),
    // These two are written out: the API server checks a default against the rules before it fills in the members' own.
    tls: withDefault(tls, { duration: "2160h", renewBefore: "720h" }),
    access: withDefault(access, { admins: [] }),
    default: withDefault(flag("SecretBindings without vaultRef mean this cluster when there are several."), false),
    audit: withDefault(
      object("The audit log.", {
        stdout: withDefault(flag("Write it, with secrets as HMACs, to the container's output."), false),
      }),
      {},
    ),
    resources: withDefault(resources, { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "512Mi" } }),
    suspend: withDefault(flag("The operator leaves everything as it is."), false),
    deletionPolicy: withDefault(
      choice("What happens to the volume when the cluster is deleted.", ["Retain", "Delete"]),
      "Retain",
    ),
  },
  [
    {
      rule: "self.storage.type != 'embedded' || self.replicas == 1",
      message: "embedded storage belongs to one pod: set replicas to 1",
    },
  ],
);

const member = object("A server pod.", {
  name: text("Name of the pod.", 253),
  sealed: optional(flag("Whether it is sealed; absent while it does not answer.")),
  reason: optional(message("What it waits for or what is wrong.", 1024)),
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
  replicas: optional(integer("Server pods that there are.", 0, 64)),
  readyReplicas: optional(integer("Server pods that serve.", 0, 64)),
  selector: optional(message("The label selector of the server pods.", 512)),
  members: withDefault(list("The server pods.", member, { max: 64, keys: ["name"] }), []),
  caBundle: optional(
    message("Name of the ConfigMap that holds the CA's certificate as ca.crt, in every namespace with a binding.", 253),
  ),
  conditions,
});

export type VaultClusterSpec = Infer<typeof spec>;
export type VaultClusterStatus = Infer<typeof status>;
export type VaultCluster = Resource<VaultClusterSpec, VaultClusterStatus>;

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
    VolumeResizing: "The volume is growing.",
    NamespaceNotManaged: "The operator may not run clusters in this namespace.",
    Suspended: "`suspend` is set.",
    Deleting: "It is being removed.",
  },
  columns: [
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
