// The stanza of the awskms seal: Vault's settings under Vault's names and environment variables, and a few of ours.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { type Infer, json, list, map, object, optional, string } from "#common/schema.ts";
import { type AwsIdentity, awsEndpoint, awsIdentityMembers, parseAwsIdentity } from "../aws-identity.ts";
import type { SealDependencies } from "../seal-types.ts";
import { assertKnownMembers, durationMillis, sealName } from "../stanza.ts";

/** KMS answers in milliseconds; after this long something is wrong on the way. */
const TIMEOUT_MILLIS_DEFAULT = 5000;
/** "must not exceed 8192 bytes" (KMS API reference, EncryptionContext); leaves room for the two members of ours. */
const CONTEXT_BYTES_MAX = 7168;
/** "Array Members: Minimum number of 0 items. Maximum number of 10 items." (KMS API reference, GrantTokens) */
const GRANT_TOKENS_MAX = 10;

/** Names of the members that every encryption context has; key policies may ask for them. */
export const CONTEXT_CLUSTER = "coffer:cluster";
export const CONTEXT_PURPOSE = "coffer:purpose";

const stanza = object({
  /** AWS_REGION or AWS_DEFAULT_REGION otherwise. */
  region: optional(string),
  /** Id, ARN or alias of a symmetric key. VAULT_AWSKMS_SEAL_KEY_ID otherwise. */
  kms_key_id: optional(string),
  /** Another address of KMS, such as a VPC endpoint. AWS_KMS_ENDPOINT otherwise. */
  endpoint: optional(string),
  ...awsIdentityMembers,
  /** Make a new grant on the key effective before it is known everywhere, as CreateGrant gave them. Not secret. */
  grant_tokens: optional(list(string)),
  /** Further members of the encryption context. */
  encryption_context: optional(map(string)),
  /** Of one operation with all its attempts: "5s". */
  timeout: optional(json),
});
type Stanza = Infer<typeof stanza>;

const MEMBERS: readonly string[] = [
  ...["region", "kms_key_id", "endpoint", "grant_tokens", "encryption_context", "timeout"],
  ...Object.keys(awsIdentityMembers),
];

export interface AwsKmsConfig extends AwsIdentity {
  readonly name: string;
  readonly region: string;
  readonly keyId: string;
  readonly endpoint?: string | undefined;
  /** Without the purpose, which each call adds. */
  readonly encryptionContext: Readonly<Record<string, string>>;
  readonly grantTokens: readonly string[];
  readonly timeoutMillis: number;
}

/** Reads the stanza. Throws `invalid_request` naming the member. */
export function parseAwsKmsConfig(
  config: JsonObject,
  { clusterName, environment }: Pick<SealDependencies, "clusterName" | "environment">,
): AwsKmsConfig {
  assertKnownMembers("awskms", config, MEMBERS);
  const settings = stanza.parse(config, "seal awskms");
  const region = settings.region ?? environment("AWS_REGION") ?? environment("AWS_DEFAULT_REGION");
  const keyId = settings.kms_key_id ?? environment("VAULT_AWSKMS_SEAL_KEY_ID");
  return {
    name: sealName("awskms", config),
    region: required(region, "region is missing: set it, or AWS_REGION"),
    keyId: required(keyId, "kms_key_id is missing: set it to the id, ARN or alias of a symmetric KMS key"),
    endpoint: awsEndpoint("endpoint", settings.endpoint ?? environment("AWS_KMS_ENDPOINT"), "seal awskms"),
    ...parseAwsIdentity(settings, "seal awskms"),
    encryptionContext: encryptionContext(settings, clusterName),
    grantTokens: grantTokens(settings),
    timeoutMillis: settings.timeout == null ? TIMEOUT_MILLIS_DEFAULT : durationMillis("timeout", settings.timeout),
  };
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", `seal awskms: ${message}`);
}

function required(value: string | undefined, message: string): string {
  if (value === undefined || value === "") throw invalid(message);
  return value;
}

function grantTokens({ grant_tokens: tokens = [] }: Stanza): readonly string[] {
  if (tokens.length <= GRANT_TOKENS_MAX && tokens.every((token) => /^[\w+/=-]{1,8192}$/.test(token))) return tokens;
  throw invalid(`grant_tokens must be at most ${GRANT_TOKENS_MAX} tokens as CreateGrant gives them`);
}

function encryptionContext(settings: Stanza, clusterName: string): Readonly<Record<string, string>> {
  const own = settings.encryption_context ?? {};
  const reserved = Object.keys(own).find((name) => name.startsWith("coffer:") || name.startsWith("aws:"));
  if (reserved !== undefined)
    throw invalid(`encryption_context must not have ${reserved}: names with "coffer:" and "aws:" are taken`);
  const context = { ...own, [CONTEXT_CLUSTER]: clusterName };
  if (Buffer.byteLength(JSON.stringify(context)) <= CONTEXT_BYTES_MAX) return context;
  throw invalid(`encryption_context must not be larger than ${CONTEXT_BYTES_MAX} bytes`);
}
