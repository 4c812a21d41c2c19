// The way to the servers of VaultClusters: which pods there are, with what their certificates are verified, and sessions
// in the name of the operator. Pods are called by their addresses, so that it works from wherever they can be reached;
// certificates are verified against the Service's name all the same.
import { type ApiClient, createApiClient } from "#client/api-client.ts";
import { ApiError, hasStatus } from "#client/api-error.ts";
import { loginWithToken } from "#client/kubernetes-login.ts";
import { tokenAudience } from "#common/binding-names.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonArray, isJsonObject } from "#common/json.ts";
import type { KubeClient } from "#kube/kube-client.ts";
import type { KubeObject } from "#kube/kube-object.ts";
import { SECRET } from "#kube/resource-kinds.ts";
import type { VaultCluster } from "../api/vault-cluster.ts";
import {
  isPodOf,
  OPERATOR_AUTH_MOUNT,
  OPERATOR_ROLE,
  SERVER_PORT,
  serviceHost,
  titleOf,
  tlsSecretName,
} from "../cluster-names.ts";
import type { Watches } from "../watches.ts";
import { type Machinery, readMachinery } from "./machinery.ts";
import { type MemberProbe, probe } from "./probe.ts";

export interface Servers {
  /** Asks every pod of the cluster. */
  probe(cluster: VaultCluster, signal: AbortSignal): Promise<readonly MemberProbe[]>;
  /** What the first pod that knows says of the HSMs behind its seal. */
  machinery(cluster: VaultCluster, signal: AbortSignal): Promise<Machinery | undefined>;
  /**
   * Runs `work` with a client that is logged in as the operator. A session that the server no longer accepts is renewed
   * once. Throws ApiError, and `unavailable` when no pod serves.
   */
  withSession<T>(cluster: VaultCluster, signal: AbortSignal, work: (client: ApiClient) => Promise<T>): Promise<T>;
  close(): void;
}

export interface ServersOptions {
  readonly client: KubeClient;
  readonly watches: Pick<Watches, "pods" | "secrets">;
  /** A token of the operator's ServiceAccount for an audience. */
  token(audience: string, signal: AbortSignal): Promise<string>;
  /** Other than 8200; for tests. */
  readonly port?: number;
  readonly clock: Clock;
}

/** A pod on the same network answers in milliseconds; its seal may take a moment while it starts. */
const PROBE_MILLIS: Millis = 3000;
const CALL_MILLIS: Millis = 5000;
/** A pod that goes away is found out in seconds; the queue tries again with patience of its own. */
const CALL_RETRIES = 0;
/** A session is renewed when this part of its life is left. */
const RENEW_PART_LEFT = 1 / 3;

interface Session {
  readonly client: ApiClient;
  readonly pod: string;
  readonly caVersion: string;
  readonly endsAt: Millis;
}

export function createServers(options: ServersOptions): Servers {
  return new Connections(options);
}

class Connections implements Servers {
  readonly #options: ServersOptions;
  readonly #sessions = new Map<string, Session>();
  readonly #trust = new Map<string, { version: string; ca: string | undefined }>();
  constructor(options: ServersOptions) {
    this.#options = options;
  }

  async probe(cluster: VaultCluster, signal: AbortSignal): Promise<readonly MemberProbe[]> {
    const { ca } = await this.#trustOf(cluster, signal);
    const probes = this.#podsOf(cluster).map(async (pod): Promise<MemberProbe> => {
      const host = addressOf(pod);
      if (host === undefined)
        return { pod: pod.metadata.name, answer: { kind: "silent", reason: "the pod has no address yet" } };
      using client = this.#connect(cluster, host, ca, PROBE_MILLIS);
      return { pod: pod.metadata.name, answer: await probe(client, this.#options.clock, signal) };
    });
    return Promise.all(probes);
  }

  async machinery(cluster: VaultCluster, signal: AbortSignal): Promise<Machinery | undefined> {
    const { ca } = await this.#trustOf(cluster, signal);
    for (const pod of this.#podsOf(cluster)) {
      const host = addressOf(pod);
      if (host === undefined) continue;
      using client = this.#connect(cluster, host, ca, PROBE_MILLIS);
      const found = await readMachinery(client, signal);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async withSession<T>(
    cluster: VaultCluster,
    signal: AbortSignal,
    work: (client: ApiClient) => Promise<T>,
  ): Promise<T> {
    const kept = await this.#kept(cluster, signal);
    const session = kept ?? (await this.#login(cluster, signal));
    try {
      return await work(session.client);
    } catch (error) {
      // A refusal may mean that the token has ended, for the server does not tell the two apart.
      const mayHelp =
        kept !== undefined && (hasStatus(error, 403) || (error instanceof ApiError && error.status === 0));
      if (!mayHelp) throw error;
      return work((await this.#login(cluster, signal)).client);
    }
  }

  close(): void {
    for (const { client } of this.#sessions.values()) client.close();
    this.#sessions.clear();
  }

  async #kept(cluster: VaultCluster, signal: AbortSignal): Promise<Session | undefined> {
    const session = this.#sessions.get(titleOf(cluster));
    if (session === undefined || session.endsAt <= this.#options.clock.now()) return undefined;
    if (session.caVersion !== (await this.#trustOf(cluster, signal)).version) return undefined;
    return this.#podsOf(cluster).some((pod) => podId(pod) === session.pod) ? session : undefined;
  }

  async #login(cluster: VaultCluster, signal: AbortSignal): Promise<Session> {
    this.#sessions.get(titleOf(cluster))?.client.close();
    this.#sessions.delete(titleOf(cluster));
    const { ca, version } = await this.#trustOf(cluster, signal);
    let failure: unknown = new CofferError("unavailable", `VaultCluster ${titleOf(cluster)} has no pod that serves`);
    for (const pod of this.#podsOf(cluster).filter(isReady)) {
      const host = addressOf(pod);
      if (host === undefined) continue;
      const client = this.#connect(cluster, host, ca, CALL_MILLIS);
      try {
        const jwt = await this.#options.token(tokenAudience(cluster.metadata), signal);
        const login = { mount: OPERATOR_AUTH_MOUNT, role: OPERATOR_ROLE, jwt };
        const auth = await loginWithToken(client, login, signal);
        const life = auth.lease_duration * 1000 * (1 - RENEW_PART_LEFT);
        const endsAt = this.#options.clock.now() + life;
        const session = {
          client: client.with({ token: auth.client_token }),
          pod: podId(pod),
          caVersion: version,
          endsAt,
        };
        this.#sessions.set(titleOf(cluster), session);
        return session;
      } catch (error) {
        client.close();
        failure = error;
      }
    }
    throw failure;
  }

  #connect(cluster: VaultCluster, host: string, ca: string | undefined, timeoutMillis: Millis): ApiClient {
    return createApiClient({
      address: `https://${host.includes(":") ? `[${host}]` : host}:${this.#options.port ?? SERVER_PORT}`,
      ca,
      serverName: serviceHost(cluster),
      timeoutMillis,
      retries: CALL_RETRIES,
      userAgent: "coffer-operator",
      clock: this.#options.clock,
    });
  }

  #podsOf(cluster: VaultCluster): readonly KubeObject[] {
    return this.#options.watches.pods
      .list(cluster.metadata.namespace)
      .filter(({ metadata }) => isPodOf(cluster, metadata))
      .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  /** The authorities to trust; undefined for those of the system. Read again when the Secret has changed. */
  async #trustOf(cluster: VaultCluster, signal: AbortSignal): Promise<{ version: string; ca: string | undefined }> {
    const ref = { namespace: cluster.metadata.namespace, name: tlsSecretName(cluster) };
    const key = `${ref.namespace}/${ref.name}`;
    const version = this.#options.watches.secrets.get(key)?.metadata.resourceVersion ?? "";
    const known = this.#trust.get(key);
    if (known !== undefined && known.version === version && version !== "") return known;
    const secret = await this.#options.client.get(SECRET, ref, { signal });
    const data = isJsonObject(secret?.["data"]) ? secret["data"] : {};
    const pem = data["ca.crt"];
    const ca = typeof pem === "string" ? Buffer.from(pem, "base64").toString("utf8") : undefined;
    const trust = { version, ca };
    this.#trust.set(key, trust);
    return trust;
  }
}

function podId({ metadata }: KubeObject): string {
  return `${metadata.name}/${metadata.uid ?? ""}`;
}

function addressOf(pod: KubeObject): string | undefined {
  const status = isJsonObject(pod["status"]) ? pod["status"] : {};
  const address = status["podIP"];
  return typeof address === "string" && address !== "" && pod.metadata.deletionTimestamp === undefined
    ? address
    : undefined;
}

function isReady(pod: KubeObject): boolean {
  const conditions = isJsonObject(pod["status"]) ? pod["status"]["conditions"] : undefined;
  if (conditions === undefined || !isJsonArray(conditions)) return false;
  return conditions.some((one) => isJsonObject(one) && one["type"] === "Ready" && one["status"] === "True");
}
