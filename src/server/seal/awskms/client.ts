// Makes the KMS client of the AWS SDK. The SDK is heavy (120 ms, 26 MB): it is loaded here, when a seal of this type is
// used for the first time, and nowhere else.
import type { KMSClient } from "@aws-sdk/client-kms";
import type { AwsKmsConfig, Role } from "./config.ts";

/** Attempts within one operation bridge a dropped connection; longer outages are the business of retry.ts. */
const ATTEMPTS_MAX = 3;

export type Sdk = typeof import("@aws-sdk/client-kms");
export interface Connection {
  readonly sdk: Sdk;
  readonly client: KMSClient;
}

/** Loads the SDK and makes a client. Contacts nothing: credentials are fetched with the first request. */
export async function connect(config: AwsKmsConfig): Promise<Connection> {
  const sdk = await import("@aws-sdk/client-kms");
  const client = new sdk.KMSClient({
    region: config.region,
    maxAttempts: ATTEMPTS_MAX,
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    credentials: await credentialsOf(config),
  });
  return { sdk, client };
}

async function credentialsOf(config: AwsKmsConfig) {
  const providers = await import("@aws-sdk/credential-providers");
  const sts = {
    region: config.region,
    ...(config.stsEndpoint === undefined ? {} : { endpoint: config.stsEndpoint }),
  };
  if (config.role?.tokenFile !== undefined)
    return providers.fromTokenFile({
      webIdentityTokenFile: config.role.tokenFile,
      roleArn: config.role.arn,
      roleSessionName: config.role.sessionName,
      clientConfig: sts,
    });
  const { credentials } = config;
  const own =
    credentials.kind === "fixed"
      ? {
          accessKeyId: credentials.accessKeyId,
          secretAccessKey: credentials.secretAccessKey,
          ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken }),
        }
      : providers.fromNodeProviderChain({ clientConfig: sts });
  return config.role === undefined
    ? own
    : providers.fromTemporaryCredentials({
        masterCredentials: own,
        params: assumeRoleParameters(config.role),
        clientConfig: sts,
      });
}

function assumeRoleParameters(role: Role) {
  const { arn, sessionName, externalId } = role;
  return { RoleArn: arn, RoleSessionName: sessionName, ...(externalId !== undefined && { ExternalId: externalId }) };
}
