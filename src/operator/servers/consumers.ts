// Reading as the ServiceAccount that a secret is for: the operator takes a token of it for the server's audience, logs in
// to the role that a pod of it would, and so reads what that may, not what the operator may. It has no right of its own
// to any value. Tokens are kept for their life, in memory alone, and go over the operator's connection.
import type { ApiClient } from "#client/api-client.ts";
import { type ApiError, hasStatus } from "#client/api-error.ts";
import { loginWithToken } from "#client/kubernetes-login.ts";
import { createKv, type Kv } from "#client/kv.ts";
import { AUTH_MOUNT, tokenAudience } from "#common/binding-names.ts";
import type { Clock, Millis } from "#common/clock.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import type { ObjectRef } from "#kube/kube-object.ts";
import { requestToken, TOKEN_SECONDS_MIN } from "#kube/service-account-tokens.ts";
import type { VaultCluster } from "../api/vault-cluster.ts";
import { titleOf } from "../cluster-names.ts";
import type { Servers } from "./servers.ts";

export interface Consumer {
  readonly account: ObjectRef & { readonly namespace: string };
  /** Of auth/kubernetes. */
  readonly role: string;
}

export interface Consumers {
  /**
   * Runs `work` as the consumer. A token that the server no longer accepts is replaced once. Throws ApiError, KubeError
   * when there is no token to be had of the ServiceAccount, `unavailable` when no pod serves.
   */
  withConsumer<T>(
    cluster: VaultCluster,
    consumer: Consumer,
    signal: AbortSignal,
    work: (kv: Kv) => Promise<T>,
  ): Promise<T>;
}

/** Tokens kept; the one that was used least recently goes, to be had again when it is wanted. */
const TOKENS_MAX = 5000;
/** A token is replaced when this part of its life is left. */
const RENEW_PART_LEFT = 1 / 3;

interface Kept {
  readonly token: string;
  readonly endsAt: Millis;
  /** What it knows of mounts is what the token may see, so it goes with the token and with the connection. */
  readonly client: ApiClient;
  readonly kv: Kv;
}

export function createConsumers(options: { client: KubeClient; servers: Servers; clock: Clock }): Consumers {
  const { clock } = options;
  const kept = new Map<string, Kept>();
  const login = async (client: ApiClient, cluster: VaultCluster, consumer: Consumer, signal: AbortSignal) => {
    const request = { audiences: [tokenAudience(cluster.metadata)], expirationSeconds: TOKEN_SECONDS_MIN, signal };
    const { token: jwt } = await requestToken(options.client, consumer.account, request);
    const auth = await loginWithToken(client, { mount: AUTH_MOUNT, role: consumer.role, jwt }, signal);
    const endsAt = clock.now() + auth.lease_duration * 1000 * (1 - RENEW_PART_LEFT);
    return { token: auth.client_token, endsAt };
  };
  const remember = (key: string, entry: Kept) => {
    kept.delete(key);
    kept.set(key, entry);
    const [oldest] = kept.keys();
    if (kept.size > TOKENS_MAX && oldest !== undefined) kept.delete(oldest);
    return entry;
  };
  const entryOf = (client: ApiClient, auth: { token: string; endsAt: Millis }): Kept => {
    return { ...auth, client, kv: createKv(client.with({ token: auth.token })) };
  };
  const attempt = async <T>(
    client: ApiClient,
    cluster: VaultCluster,
    consumer: Consumer,
    signal: AbortSignal,
    work: (kv: Kv) => Promise<T>,
  ): Promise<T> => {
    const key = JSON.stringify([titleOf(cluster), consumer.account.namespace, consumer.account.name, consumer.role]);
    const last = kept.get(key);
    const fresh = async () => remember(key, entryOf(client, await login(client, cluster, consumer, signal)));
    if (last === undefined || last.endsAt <= clock.now()) return work((await fresh()).kv);
    const entry = remember(key, last.client === client ? last : entryOf(client, last));
    try {
      return await work(entry.kv);
    } catch (error) {
      if (!hasStatus(error, 403)) throw error;
      return work((await fresh()).kv);
    }
  };
  return {
    async withConsumer(cluster, consumer, signal, work) {
      // A refusal of the consumer is none of the operator, whose session a thrown one would renew.
      const answer = await options.servers.withSession(cluster, signal, (client) =>
        refusalAsValue(attempt(client, cluster, consumer, signal, work)),
      );
      if ("refusal" in answer) throw answer.refusal;
      return answer.value;
    },
  };
}

type Answer<T> = { readonly value: T } | { readonly refusal: ApiError };

async function refusalAsValue<T>(work: Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await work };
  } catch (error) {
    if (hasStatus(error, 403) || hasStatus(error, 400)) return { refusal: error };
    throw error;
  }
}
