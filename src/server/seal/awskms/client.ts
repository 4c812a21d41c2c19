// Makes the KMS client of the AWS SDK. The SDK is heavy (120 ms, 26 MB): it is loaded here, when a seal of this type is
// used for the first time, and nowhere else.
import type { KMSClient } from "@aws-sdk/client-kms";
import { awsCredentials } from "../aws-identity.ts";
import type { AwsKmsConfig } from "./config.ts";

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
    credentials: await awsCredentials(config, config.region),
  });
  return { sdk, client };
}
