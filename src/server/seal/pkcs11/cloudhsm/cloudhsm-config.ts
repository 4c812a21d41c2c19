// The member `cloudhsm` of the pkcs11 stanza: which CloudHSM cluster is behind the library, so that the server and the
// commands can look at it through AWS's API. It decides nothing about sealing.

import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { json, object, optional, string } from "#common/schema.ts";
import { type AwsIdentity, awsEndpoint, awsIdentityMembers, parseAwsIdentity } from "../../aws-identity.ts";
import type { SealDependencies } from "../../seal-types.ts";

const WHERE = "seal pkcs11, cloudhsm";
/** "AWS CloudHSM makes periodic backups of your cluster at least once every 24 hours" (user guide): two were missed. */
const BACKUP_MAX_AGE_DEFAULT = "48h";
/** CloudHSM v2 API reference: cluster-[2-7a-zA-Z]{11,16}. Emulators have names of their own. */
const CLUSTER_ID = /^[A-Za-z0-9-]{1,64}$/;

const stanza = object({
  cluster_id: string,
  /** AWS_REGION or AWS_DEFAULT_REGION otherwise. */
  region: optional(string),
  /** Another address of the CloudHSM API. */
  endpoint: optional(string),
  /** A newest backup that is older is warned of. */
  backup_max_age: optional(json),
  ...awsIdentityMembers,
});
const MEMBERS = ["cluster_id", "region", "endpoint", "backup_max_age", ...Object.keys(awsIdentityMembers)];

export interface CloudHsmConfig extends AwsIdentity {
  readonly clusterId: string;
  readonly region: string;
  readonly endpoint?: string | undefined;
  readonly backupMaxAgeMillis: number;
}

/** Undefined: the stanza has no such member. Throws `invalid_request` naming what is wrong. */
export function parseCloudHsmConfig(
  member: JsonValue | undefined,
  environment: SealDependencies["environment"],
): CloudHsmConfig | undefined {
  if (member === undefined || member === null) return undefined;
  const block = blockOf(member);
  const unknown = Object.keys(block).find((name) => !MEMBERS.includes(name));
  if (unknown !== undefined) throw invalid(`${unknown} is no setting of it; it knows ${MEMBERS.join(", ")}`);
  const settings = stanza.parse(block, "seal pkcs11.cloudhsm");
  const region = settings.region ?? environment("AWS_REGION") ?? environment("AWS_DEFAULT_REGION");
  if (region === undefined || region === "") throw invalid("region is missing: set it, or AWS_REGION");
  if (!CLUSTER_ID.test(settings.cluster_id))
    throw invalid("cluster_id must be the id of a cluster, such as cluster-abcdefg2345");
  return {
    clusterId: settings.cluster_id,
    region,
    endpoint: awsEndpoint("endpoint", settings.endpoint, WHERE),
    backupMaxAgeMillis: maxAge(settings.backup_max_age ?? BACKUP_MAX_AGE_DEFAULT),
    ...parseAwsIdentity(settings, WHERE),
  };
}

/** A block of HCL is a list of one, or an object. */
function blockOf(member: JsonValue): JsonObject {
  const block = isJsonArray(member) && member.length === 1 ? member[0] : member;
  if (block !== undefined && isJsonObject(block)) return block;
  throw invalid("write one block: cloudhsm { cluster_id = … }");
}

function maxAge(value: JsonValue): number {
  const seconds =
    typeof value === "string" || typeof value === "number" ? parseDurationSeconds(String(value)) : undefined;
  if (seconds !== undefined && seconds > 0) return seconds * 1000;
  throw invalid('backup_max_age must be a duration such as "48h"');
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", `${WHERE}: ${message}`);
}
