// The stanza of the awskms seal: Vault's settings under Vault's names and environment variables, and a few of ours.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { type Infer, json, list, map, object, optional, string } from "#common/schema.ts";
import type { SealDependencies } from "../seal-types.ts";
import { assertKnownMembers, durationMillis, sealName } from "../stanza.ts";

/** KMS answers in milliseconds; after this long something is wrong on the way. */
const TIMEOUT_MILLIS_DEFAULT = 5000;
/** "must not exceed 8192 bytes" (KMS API reference, EncryptionContext); leaves room for the two members of ours. */
const CONTEXT_BYTES_MAX = 7168;
const ROLE_SESSION_NAME_DEFAULT = "coffer";
/** "Array Members: Minimum number of 0 items. Maximum number of 10 items." (KMS API reference, GrantTokens) */
const GRANT_TOKENS_MAX = 10;
/** STS API reference, AssumeRole, ExternalId. */
const EXTERNAL_ID = /^[\w+=,.@:/-]{2,1224}$/;

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
  /** Another address of STS, for role_arn. */
  sts_endpoint: optional(string),
  /** Fixed credentials. Without them those of the surroundings are used: environment, IRSA, Pod Identity, instance. */
  access_key: optional(string),
  secret_key: optional(string),
  session_token: optional(string),
  /** A role to assume; with the token of the file, else with the credentials above. */
  role_arn: optional(string),
  role_session_name: optional(string),
  web_identity_token_file: optional(string),
  /** What the role's trust policy asks for as sts:ExternalId: for a role of another account. */
  external_id: optional(string),
  /** Make a new grant on the key effective before it is known everywhere, as CreateGrant gave them. Not secret. */
  grant_tokens: optional(list(string)),
  /** Further members of the encryption context. */
  encryption_context: optional(map(string)),
  /** Of one operation with all its attempts: "5s". */
  timeout: optional(json),
});
type Stanza = Infer<typeof stanza>;

const MEMBERS: readonly (keyof Stanza)[] = [
  "region",
  "kms_key_id",
  "endpoint",
  "sts_endpoint",
  "access_key",
  "secret_key",
  "session_token",
  "role_arn",
  "role_session_name",
  "web_identity_token_file",
  "external_id",
  "grant_tokens",
  "encryption_context",
  "timeout",
];

/** How the seal proves who it is. */
export type CredentialSource =
  | { readonly kind: "ambient" }
  | {
      readonly kind: "fixed";
      readonly accessKeyId: string;
      readonly secretAccessKey: string;
      readonly sessionToken?: string | undefined;
    };

export interface Role {
  readonly arn: string;
  readonly sessionName: string;
  /** A web identity token; without it the role is assumed with the credentials. */
  readonly tokenFile?: string | undefined;
  readonly externalId?: string | undefined;
}

export interface AwsKmsConfig {
  readonly name: string;
  readonly region: string;
  readonly keyId: string;
  readonly endpoint?: string | undefined;
  readonly stsEndpoint?: string | undefined;
  readonly credentials: CredentialSource;
  readonly role?: Role | undefined;
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
    endpoint: url("endpoint", settings.endpoint ?? environment("AWS_KMS_ENDPOINT")),
    stsEndpoint: url("sts_endpoint", settings.sts_endpoint),
    credentials: credentialSource(settings),
    role: role(settings),
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

function url(member: string, value: string | undefined): string | undefined {
  if (value === undefined || value === "") return undefined;
  if (/^https?:$/.test(URL.parse(value)?.protocol ?? "")) return value;
  throw invalid(`${member} must be a URL such as https://kms.eu-central-1.amazonaws.com`);
}

function credentialSource(settings: Stanza): CredentialSource {
  const { access_key: accessKeyId, secret_key: secretAccessKey, session_token: sessionToken } = settings;
  if (accessKeyId !== undefined && secretAccessKey !== undefined)
    return { kind: "fixed", accessKeyId, secretAccessKey, sessionToken };
  if (accessKeyId === undefined && secretAccessKey === undefined && sessionToken === undefined)
    return { kind: "ambient" };
  throw invalid("access_key and secret_key belong together: set both, or neither to use the credentials around");
}

function role(settings: Stanza): Role | undefined {
  const { role_arn: arn, role_session_name: sessionName, web_identity_token_file: tokenFile } = settings;
  const { external_id: externalId } = settings;
  if (arn === undefined) {
    if (sessionName === undefined && tokenFile === undefined && externalId === undefined) return undefined;
    throw invalid("role_session_name, web_identity_token_file and external_id want a role_arn");
  }
  if (externalId !== undefined && !EXTERNAL_ID.test(externalId))
    throw invalid("external_id must be 2 to 1224 letters, digits and signs of _+=,.@:/-");
  // AssumeRoleWithWebIdentity has no such parameter (STS API reference).
  if (externalId !== undefined && tokenFile !== undefined)
    throw invalid("external_id has no meaning for a role that web_identity_token_file gives: leave it out");
  return { arn, sessionName: sessionName ?? ROLE_SESSION_NAME_DEFAULT, tokenFile, externalId };
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
