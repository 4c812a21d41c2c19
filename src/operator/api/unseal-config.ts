// UnsealConfig: the key service that unseals a VaultCluster. Which service and which key; never a key itself.
import { ageColumn, conditions, observedGeneration, readyColumns } from "./conditions.ts";
import {
  choice,
  flag,
  type Infer,
  integer,
  list,
  map,
  message,
  object,
  optional,
  text,
  time,
  withDefault,
} from "./fields.ts";
import { localRef } from "./references.ts";
import type { Definition, Resource } from "./resource.ts";

const awsKms = object(
  "A symmetric key of AWS Key Management Service. The pods use the credentials of their ServiceAccount (IRSA), of EKS Pod Identity or of the machine, unless `credentials` names a Secret.",
  {
    keyId: text("The key: its id, an alias (`alias/coffer`) or an ARN.", 2048, [
      {
        rule: "self.matches('^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+|alias/[A-Za-z0-9/_-]+|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$')",
        message: "write keyId as a key id, as alias/NAME or as an ARN of KMS",
      },
    ]),
    region: optional(
      text("The region, such as eu-west-1. May be left out when keyId is an ARN, which names it.", 32, [
        {
          rule: "self.matches('^[a-z]{2}(-[a-z]+)+-[0-9]+$')",
          message: "write the region as AWS does, such as eu-west-1",
        },
      ]),
    ),
    endpoint: optional(
      text("Another address of the service: a VPC endpoint or an emulator.", 2048, [
        {
          rule: "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''",
          message: "write the endpoint as a URL, such as https://kms.eu-west-1.amazonaws.com",
        },
      ]),
    ),
    encryptionContext: optional(
      map(
        "Pairs that the key service binds to every ciphertext and that key policies can ask for. Coffer adds its own.",
        text("A value.", 256),
        16,
      ),
    ),
    roleArn: optional(
      text("A role to assume before the key is used.", 2048, [
        {
          rule: "self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$')",
          message: "write roleArn as the ARN of a role, such as arn:aws:iam::111122223333:role/coffer",
        },
      ]),
    ),
    externalId: optional(text("What the role's trust policy asks for as sts:ExternalId.", 1224)),
    credentials: optional(
      object("Credentials from a Secret, where a ServiceAccount cannot have a role.", {
        secretRef: localRef(
          "The Secret; its keys are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN.",
          "Name of the Secret.",
        ),
      }),
    ),
  },
  [
    {
      rule: "has(self.region) || self.keyId.startsWith('arn:')",
      message: "set region, or write keyId as an ARN, which names the region",
    },
    { rule: "!has(self.externalId) || has(self.roleArn)", message: "externalId wants a roleArn" },
  ],
);

const pkcs11 = object(
  "A key in a hardware security module: AWS CloudHSM, or any token with a PKCS #11 library. The library and its configuration are in the servers' image (`image` of the VaultCluster).",
  {
    library: text("Path of the vendor's PKCS #11 library in the servers' image.", 1024, [
      {
        rule: "self.startsWith('/')",
        message: "write library as an absolute path, such as /opt/cloudhsm/lib/libcloudhsm_pkcs11.so",
      },
    ]),
    tokenLabel: optional(text("Label of the token, when the library shows several.", 32)),
    slot: optional(integer("Number of the slot, when the library shows several.", 0, Number.MAX_SAFE_INTEGER)),
    keyLabel: text("Label of the AES key.", 127),
    mechanism: optional(
      choice("How keys are wrapped; left out, the best that the token offers.", [
        ...(["auto", "cloudhsm-gcm", "aes-gcm", "aes-cbc-hmac", "aes-key-wrap"] as const),
      ]),
    ),
    generateKey: withDefault(flag("Whether a missing key is made, inside the token."), true),
    pin: object("The user's PIN; for CloudHSM user:password of a crypto user.", {
      secretRef: localRef("The Secret; its key `pin` holds the PIN.", "Name of the Secret."),
    }),
    cloudHsm: optional(
      object("The CloudHSM cluster behind the library, which the servers then look at through AWS's API.", {
        clusterId: text("Id of the cluster, such as cluster-abcdefg2345.", 64),
        region: text("The region, such as eu-west-1.", 32),
        endpoint: optional(text("Another address of the service.", 2048)),
        roleArn: optional(text("A role to assume for it.", 2048)),
        backupMaxAge: optional(text("A newest backup that is older is warned of; 48h when left out.", 32)),
      }),
    ),
  },
);

const spec = object(
  "The key service.",
  {
    awsKms: optional(awsKms),
    pkcs11: optional(pkcs11),
    static: optional(
      object("A key in a Secret, for development: whoever reads the Secret and the disk reads everything.", {
        secretRef: localRef("The Secret; its key `key` holds 32 bytes in base64.", "Name of the Secret."),
      }),
    ),
  },
  [
    {
      rule: "(has(self.awsKms) ? 1 : 0) + (has(self.pkcs11) ? 1 : 0) + (has(self.static) ? 1 : 0) == 1",
      message: "set exactly one provider: awsKms, pkcs11, or static for development",
    },
  ],
);

const status = object("What was seen of the key.", {
  observedGeneration,
  provider: optional(choice("The provider that the spec names.", ["awsKms", "pkcs11", "static"])),
  keyId: optional(message("The key that the provider resolved.", 2048)),
  usedBy: withDefault(
    list("Names of the VaultClusters that are unsealed by it.", text("A name.", 253), { max: 256, set: true }),
    [],
  ),
  lastProbe: optional(
    object("What the servers last said of the key.", {
      time: time("When; an unchanged result is written again every few minutes."),
      result: text("OK, or the fault as the server names it.", 128),
    }),
  ),
  hsm: optional(
    object("What the servers last saw of the CloudHSM cluster.", {
      clusterId: text("Its id.", 64),
      state: optional(message("ACTIVE, DEGRADED, …", 64)),
      activeHsms: optional(integer("HSMs that serve.", 0, 1000)),
      backups: optional(integer("Backups that there are.", 0, 100_000)),
      newestBackup: optional(time("When the newest usable backup was made.")),
    }),
  ),
  conditions,
});

export type UnsealConfigSpec = Infer<typeof spec>;
export type UnsealConfigStatus = Infer<typeof status>;
export type UnsealConfig = Resource<UnsealConfigSpec, UnsealConfigStatus>;

export const unsealConfig: Definition<UnsealConfigSpec, UnsealConfigStatus> = {
  kind: "UnsealConfig",
  plural: "unsealconfigs",
  singular: "unsealconfig",
  shortName: "uc",
  description: "Names the key service and the key that unseal VaultClusters of the same namespace.",
  spec,
  status,
  conditions: {
    Ready: "The key works: a server that uses it is unsealed.",
    Reconciling: "A change is being worked on.",
    Stalled: "Nothing will happen until someone changes something; the message says what.",
    HsmHealthy:
      "The CloudHSM cluster is redundant and has a fresh backup. It says nothing of whether the key works now.",
  },
  reasons: {
    KeyAccessible: "A server was unsealed by the key.",
    NotProbed: "No cluster uses it yet, so it has not been tried.",
    SecretNotFound: "The Secret that it names does not exist or lacks a key.",
    KeyNotFound: "The service does not know the key.",
    KeyDisabled: "The key is disabled or waits for its deletion.",
    AccessDenied: "The service does not let these credentials use the key.",
    CredentialsInvalid: "There are no credentials, or the service does not accept them.",
    WrongEncryptionContext: "The ciphertext was made under another context.",
    Throttled: "The service takes no more requests at the moment.",
    EndpointUnreachable: "The service does not answer.",
    Misconfigured: "The service does not take the request; the message has its reason.",
    Failed: "The service refused for another reason; the message has it.",
    Suspended: "The cluster that would use it is suspended.",
    ClusterHealthy: "The CloudHSM cluster gives nothing to warn of.",
    ClusterNotActive: "The CloudHSM cluster is in a state in which it may not serve.",
    NoActiveHsm: "The CloudHSM cluster has no HSM that serves.",
    OneHsmOnly: "The CloudHSM cluster has one HSM only.",
    OneZoneOnly: "All HSMs of the cluster are in one zone.",
    HsmNotActive: "An HSM of the cluster does not serve.",
    NoBackup: "The CloudHSM cluster has no usable backup.",
    StaleBackup: "The newest backup is older than it should be.",
    ClusterUnknown: "AWS's API does not tell the state of the cluster; the message says why.",
  },
  columns: [
    {
      name: "Provider",
      type: "string",
      jsonPath: ".status.provider",
      description: "The key service.",
    },
    { name: "Key", type: "string", jsonPath: ".status.keyId", description: "The key that the provider resolved." },
    ...readyColumns,
    {
      name: "HSM",
      type: "string",
      jsonPath: '.status.conditions[?(@.type=="HsmHealthy")].reason',
      description: "What there is to say of the CloudHSM cluster.",
      priority: 1,
    },
    ageColumn,
  ],
  example: `apiVersion: coffer.dev/v1alpha1
kind: UnsealConfig
metadata: {name: kms, namespace: coffer-system}
spec:
  awsKms: {keyId: alias/coffer, region: eu-west-1}
`,
};
