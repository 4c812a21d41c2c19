// How a seal proves to AWS who it is: fixed credentials of its stanza, those of the surroundings (environment, IRSA, EKS
// Pod Identity, instance), and a role that is assumed with either. Shared by all that talks to AWS for a seal.
import { CofferError } from "#common/errors.ts";
import { type Infer, object, optional, string } from "#common/schema.ts";

const ROLE_SESSION_NAME_DEFAULT = "coffer";
/** STS API reference, AssumeRole, ExternalId. */
const EXTERNAL_ID = /^[\w+=,.@:/-]{2,1224}$/;

/** Members of a stanza. */
export const awsIdentityMembers = {
  /** Another address of STS, for role_arn. */
  sts_endpoint: optional(string),
  /** Fixed credentials. Without them those of the surroundings are used. */
  access_key: optional(string),
  secret_key: optional(string),
  session_token: optional(string),
  /** A role to assume; with the token of the file, else with the credentials above. */
  role_arn: optional(string),
  role_session_name: optional(string),
  web_identity_token_file: optional(string),
  /** What the role's trust policy asks for as sts:ExternalId: for a role of another account. */
  external_id: optional(string),
};
const members = object(awsIdentityMembers);
export type AwsIdentityStanza = Infer<typeof members>;

/** Where credentials come from. */
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

export interface AwsIdentity {
  readonly stsEndpoint?: string | undefined;
  readonly credentials: CredentialSource;
  readonly role?: Role | undefined;
}

/** Reads those members. `where` begins the messages: "seal awskms". Throws `invalid_request` naming the member. */
export function parseAwsIdentity(settings: AwsIdentityStanza, where: string): AwsIdentity {
  const invalid = (message: string) => new CofferError("invalid_request", `${where}: ${message}`);
  return {
    stsEndpoint: awsEndpoint("sts_endpoint", settings.sts_endpoint, where),
    credentials: credentialSource(settings, invalid),
    role: role(settings, invalid),
  };
}

/** Another address of a service; undefined for AWS's own. Throws `invalid_request`. */
export function awsEndpoint(member: string, value: string | undefined, where: string): string | undefined {
  if (value === undefined || value === "") return undefined;
  if (/^https?:$/.test(URL.parse(value)?.protocol ?? "")) return value;
  throw new CofferError(
    "invalid_request",
    `${where}: ${member} must be a URL such as https://kms.eu-central-1.amazonaws.com`,
  );
}

type Invalid = (message: string) => CofferError;

function credentialSource(settings: AwsIdentityStanza, invalid: Invalid): CredentialSource {
  const { access_key: accessKeyId, secret_key: secretAccessKey, session_token: sessionToken } = settings;
  if (accessKeyId !== undefined && secretAccessKey !== undefined)
    return { kind: "fixed", accessKeyId, secretAccessKey, sessionToken };
  if (accessKeyId === undefined && secretAccessKey === undefined && sessionToken === undefined)
    return { kind: "ambient" };
  throw invalid("access_key and secret_key belong together: set both, or neither to use the credentials around");
}

function role(settings: AwsIdentityStanza, invalid: Invalid): Role | undefined {
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

/** A provider of credentials for AWS's clients. Loads the SDK's part for that; contacts nothing before it is asked. */
export async function awsCredentials(identity: AwsIdentity, region: string) {
  const providers = await import("@aws-sdk/credential-providers");
  const sts = {
    region,
    ...(identity.stsEndpoint === undefined ? {} : { endpoint: identity.stsEndpoint }),
  };
  if (identity.role?.tokenFile !== undefined)
    return providers.fromTokenFile({
      webIdentityTokenFile: identity.role.tokenFile,
      roleArn: identity.role.arn,
      roleSessionName: identity.role.sessionName,
      clientConfig: sts,
    });
  const { credentials } = identity;
  const own =
    credentials.kind === "fixed"
      ? {
          accessKeyId: credentials.accessKeyId,
          secretAccessKey: credentials.secretAccessKey,
          ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken }),
        }
      : providers.fromNodeProviderChain({ clientConfig: sts });
  return identity.role === undefined
    ? own
    : providers.fromTemporaryCredentials({
        masterCredentials: own,
        params: assumeRoleParameters(identity.role),
        clientConfig: sts,
      });
}

function assumeRoleParameters(role: Role) {
  const { arn, sessionName, externalId } = role;
  return { RoleArn: arn, RoleSessionName: sessionName, ...(externalId !== undefined && { ExternalId: externalId }) };
}
