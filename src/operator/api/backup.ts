// `backup` of a VaultCluster: which bucket the servers keep snapshots in, and how often. The server takes, tries and
// removes them itself (docs/guides/backup.md); here is only what it is told.
import { duration, IS_DURATION } from "./duration.ts";
import { type Infer, integer, object, optional, text, withDefault } from "./fields.ts";

const s3 = object(
  "A bucket of S3 or of a store that speaks its API. The pods use the credentials of their ServiceAccount, or those that the UnsealConfig's `credentials` name.",
  {
    bucket: text("Name of the bucket.", 63, [
      {
        rule: "self.matches('^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$')",
        message: "write the bucket's name: 3 to 63 lower case letters, digits, dots and dashes",
      },
    ]),
    prefix: optional(
      text("What the names of snapshots begin with; left out, NAMESPACE/NAME/ of the cluster.", 512, [
        {
          rule: "!self.startsWith('/') && self.endsWith('/')",
          message: "write the prefix as a folder, such as coffer/",
        },
      ]),
    ),
    region: optional(text("The bucket's region, such as eu-west-1.", 32)),
    endpoint: optional(
      text("Another address than AWS's.", 2048, [
        {
          rule: "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''",
          message: "write the endpoint as a URL, such as https://minio.example:9000",
        },
      ]),
    ),
  },
);

export const backup = object(
  "Snapshots at intervals, which the servers take themselves: one for each interval, however many pods there are. A change restarts the pods, one after the other.",
  {
    interval: withDefault(
      duration("How often one is taken.", [
        {
          rule: `!${IS_DURATION} || duration(self) >= duration('1m')`,
          message: "take snapshots at most once a minute: write an interval of 1m or more",
        },
      ]),
      "1h",
    ),
    retain: withDefault(integer("How many are kept.", 1, 10_000), 48),
    verifyInterval: withDefault(
      duration("How often a stored one is read back and tried in a scratch store; 0s: never."),
      "24h",
    ),
    s3,
  },
);
export type Backup = Infer<typeof backup>;
