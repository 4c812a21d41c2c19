// Where a VaultCluster's data lies: on a volume of its own, in etcd or in PostgreSQL.
import { choice, integer, list, object, optional, text, withDefault } from "./fields.ts";
import { etcdResources, localRef, objectName } from "./references.ts";

export const storageTypes = ["embedded", "etcd", "postgres"] as const;

const volumeSize = (description: string) =>
  text(description, 32, [
    { rule: "isQuantity(self)", message: "write the size as a quantity, such as 1Gi" },
    {
      rule: "!isQuantity(self) || quantity(self).isGreaterThan(quantity('0'))",
      message: "the size must be more than 0, such as 1Gi",
    },
    {
      rule: "!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0",
      message: "a volume cannot shrink: set the size to what it was or more",
    },
  ]);

const etcdEndpoint = text("Address of a member, or of a name that stands for several.", 512, [
  {
    rule: "self.matches('^https?://[^/?#@]+$')",
    message: "write the address as a URL without a path, such as https://etcd-0.etcd.svc:2379",
  },
]);

const externalEtcd = object("An etcd cluster that somebody else runs, 3.4 or newer.", {
  endpoints: list("Where its members are.", etcdEndpoint, { min: 1, max: 16 }),
  secretRef: optional(
    localRef(
      "A Secret with what is needed to reach it: `ca.crt`, `tls.crt` and `tls.key`, `username` and `password`, each where it is needed.",
      "Name of the Secret.",
    ),
  ),
  path: withDefault(
    text("Before every key; stores with different paths share an etcd cluster.", 255, [
      { rule: "self.matches('^[A-Za-z0-9._/-]+$')", message: "a path may hold letters, digits, . _ - and /" },
    ]),
    "coffer",
  ),
});

const etcdStorage = object(
  "For `etcd`. Left out, the operator runs an etcd cluster of its own for this VaultCluster.",
  {
    members: withDefault(
      integer(
        "Number of etcd members that the operator runs: 3 bear the loss of one, 5 of two. Members are added and removed one at a time.",
        3,
        5,
      ),
      3,
    ),
    image: optional(text("The members' image; left out, the one of the chart (`etcd.image`).", 512)),
    resources: withDefault(etcdResources, {
      requests: { cpu: "50m", memory: "128Mi" },
      limits: { memory: "1Gi" },
    }),
    external: optional(externalEtcd),
  },
  [{ rule: "self.members != 4", message: "set members to 3 or 5: a fourth member bears no more losses than three do" }],
);

const postgresStorage = object("For `postgres`: a PostgreSQL database that somebody else runs.", {
  secretRef: localRef(
    "A Secret with the connection URL, such as `postgres://coffer:password@db/coffer?sslmode=verify-full&sslrootcert=/coffer/postgres/ca.crt`. Its other keys are files in /coffer/postgres. A Secret of CloudNativePG's (`…-app`) will do.",
    "Name of the Secret.",
  ),
  key: withDefault(
    text("The Secret's key that holds the URL.", 253, [
      { rule: "self.matches('^[-._a-zA-Z0-9]+$')", message: "write a key of the Secret: letters, digits, - . and _" },
    ]),
    "uri",
  ),
});

export const storage = object(
  "Where the (encrypted) data lies.",
  {
    type: optional(
      choice(
        "`embedded`: on a volume of the one server pod. `etcd`: in etcd, for any number of server pods. `postgres`: in PostgreSQL, for any number of server pods. Left out, it is embedded for one replica and etcd for several.",
        storageTypes,
      ),
    ),
    size: withDefault(
      volumeSize(
        "Size of the volume, of the server's for `embedded`, of each member's for `etcd`. It can grow, where the storage class lets it.",
      ),
      "1Gi",
    ),
    storageClassName: optional(objectName("The storage class; left out, the default one of Kubernetes.")),
    // Written out: the API server checks a default against the rules before it fills in the members' own.
    etcd: withDefault(etcdStorage, { members: 3 }),
    postgres: optional(postgresStorage),
  },
  [
    {
      rule: "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
      message: "storageClassName cannot change once the cluster exists: create another cluster and move the data",
    },
    {
      rule: "has(self.etcd.external) == has(oldSelf.etcd.external)",
      message: "who runs etcd cannot change once the cluster exists: create another cluster and move the data",
    },
    {
      rule: "has(self.postgres) == (has(self.type) && self.type == 'postgres')",
      message: "postgres belongs to type postgres: set both or none",
    },
  ],
);
