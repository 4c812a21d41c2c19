import { describe, expect, it } from "vitest";
import { type FakeRequest, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { createKubeClient, type KubeClient } from "./kube-client.ts";
import { requestToken, TOKEN_SECONDS_MIN } from "./service-account-tokens.ts";

async function withAnswer<T>(
  answer: object,
  use: (client: KubeClient) => Promise<T>,
): Promise<[T, FakeRequest | undefined]> {
  await using server = await startFakeApiServer();
  server.intercept((_request, response) => {
    response.writeHead(201).end(JSON.stringify(answer));
    return true;
  });
  using client = await createKubeClient({ source: { from: "values", server: server.url }, fieldManager: "t" });
  return [await use(client), server.requests[0]];
}

describe("service account tokens", () => {
  it("are asked for with audience and life", async () => {
    const status = { token: "jwt", expirationTimestamp: "2026-01-01T00:10:00Z" };
    const account = { namespace: "a", name: "app" };
    const options = { audiences: ["coffer"], expirationSeconds: TOKEN_SECONDS_MIN };
    const [token, request] = await withAnswer({ status }, (client) => requestToken(client, account, options));
    expect(token).toEqual(status);
    expect(request?.path).toBe("/api/v1/namespaces/a/serviceaccounts/app/token");
    expect(request?.body).toMatchObject({ kind: "TokenRequest", spec: options });
  });
  it("are not asked for with less life than the API server gives", async () => {
    const options = { audiences: [], expirationSeconds: TOKEN_SECONDS_MIN - 1 };
    const asking = withAnswer({}, (client) => requestToken(client, { namespace: "a", name: "app" }, options));
    await expect(asking).rejects.toThrow("expirationSeconds");
  });
});
