// Tokens of ServiceAccounts, made by the API server for an audience and a time. Here is only the message. Format:
// authentication.k8s.io/v1 TokenRequest.
import type { Seconds } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { object, string } from "#common/schema.ts";
import type { KubeClient } from "./kube-client.ts";
import { type ObjectRef, objectPath } from "./kube-object.ts";
import { SERVICE_ACCOUNT } from "./resource-kinds.ts";

export interface ServiceAccountToken {
  readonly token: string;
  /** RFC 3339; the API server may have shortened or stretched what was asked for. */
  readonly expirationTimestamp: string;
}

/** The API server refuses shorter ones. */
export const TOKEN_SECONDS_MIN: Seconds = 600;

const issued = object({ status: object({ token: string, expirationTimestamp: string }) });

/** Makes a token of a service account for some audiences. Throws `KubeError`, `invalid_request` for too short a life. */
export async function requestToken(
  client: KubeClient,
  account: ObjectRef,
  options: { audiences: readonly string[]; expirationSeconds: Seconds; signal?: AbortSignal },
): Promise<ServiceAccountToken> {
  if (options.expirationSeconds < TOKEN_SECONDS_MIN)
    throw new CofferError("invalid_request", `expirationSeconds must be at least ${TOKEN_SECONDS_MIN}`);
  const spec = { audiences: options.audiences, expirationSeconds: options.expirationSeconds };
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
  const path = objectPath(SERVICE_ACCOUNT, account, "token");
  return issued.parse(await client.request("POST", path, body, { signal: options.signal })).status;
}
