// How a person gets in without a root token: with the token of a ServiceAccount that spec.access.admins names. Also how
// the story looks at the server's API from outside: through port-forward, the certificate verified.
import { type ApiClient, createApiClient } from "#client/api-client.ts";
import { systemClock } from "#common/clock.ts";
import type { Cluster } from "../cluster-fixture.ts";
import { type Kubectl, textAt } from "./objects.ts";
import { forward } from "./port-forward.ts";

export interface ServerPlace {
  readonly namespace: string;
  /** Of the VaultCluster and of its Service. */
  readonly name: string;
}

/** An account of the cluster, as a person with the right to ask for its tokens has it. */
export interface Account {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** How one server pod is reached from here, sealed or not. */
export interface Reached {
  readonly address: string;
  /** The name that its certificate is verified against. */
  readonly serverName: string;
  /** PEM of the authority. */
  readonly ca: string;
}

/** Runs `work` with a way to the pod, which ends with it. */
export async function reachServer<T>(
  cluster: Cluster,
  kubectl: Kubectl,
  place: ServerPlace,
  work: (reached: Reached) => Promise<T>,
): Promise<T> {
  const status = await kubectl.get(`vaultcluster/${place.name}`, place.namespace);
  const bundle = await kubectl.get(`configmap/${textAt(status, "status", "caBundle")}`, place.namespace);
  using way = await forward(cluster, place.namespace, `pod/${place.name}-0`, 8200);
  return await work({
    address: `https://127.0.0.1:${way.port}`,
    serverName: new URL(textAt(status, "status", "address")).hostname,
    ca: textAt(bundle, "data", "ca.crt"),
  });
}

/** Runs `work` with a client without a token. */
export async function withServer<T>(
  cluster: Cluster,
  kubectl: Kubectl,
  place: ServerPlace,
  work: (client: ApiClient) => Promise<T>,
): Promise<T> {
  return reachServer(cluster, kubectl, place, async (reached) => {
    using client = createApiClient({ ...reached, userAgent: "coffer-story", clock: systemClock });
    return await work(client);
  });
}

/** Logs in with a token of the account, made for this, and gives a client with the server's token. */
export async function login(
  kubectl: Kubectl,
  client: ApiClient,
  account: Account,
  at: { readonly mount: string; readonly role: string },
): Promise<ApiClient> {
  const jwt = await serviceAccountToken(kubectl, account);
  const { auth } = await client.write(`auth/${at.mount}/login`, { role: at.role, jwt });
  if (auth === undefined) throw new Error(`the login to ${at.mount} gave no token`);
  return client.with({ token: auth.client_token });
}

/** As `kubectl create token` gives it, for the audience that servers ask for. */
export async function serviceAccountToken(kubectl: Kubectl, { namespace, serviceAccount }: Account): Promise<string> {
  return (
    await kubectl.run("create", "token", serviceAccount, "-n", namespace, "--audience", "coffer.coffer-system.main")
  ).trim();
}
