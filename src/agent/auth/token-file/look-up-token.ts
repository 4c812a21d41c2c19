// A token that is there already, as the answer of a login: what the server says of it, so that it can be renewed.
import type { ApiClient } from "#client/api-client.ts";
import { type Envelope, parseEnvelope } from "#client/envelope.ts";

/** Throws ApiError 403 when the server does not know it. */
export async function lookUpToken(client: ApiClient, token: string, signal: AbortSignal): Promise<Envelope> {
  const { data = {} } = await client.read("auth/token/lookup-self", { token, signal });
  return parseEnvelope({
    auth: {
      client_token: token,
      accessor: data["accessor"] ?? "",
      policies: data["policies"] ?? [],
      lease_duration: data["ttl"] ?? 0,
      renewable: data["renewable"] ?? false,
      orphan: data["orphan"] ?? false,
      token_type: data["type"] ?? "service",
    },
  });
}
