// Where the API server is and how to be let in: from inside a pod, by a kubeconfig, or by plain values.
// In a pod only files are read: token and CA, both of which kubelet replaces while the process runs. A kubeconfig is
// the business of @kubernetes/client-node (exec plugins, OIDC, client certificates, proxies); it is imported only then,
// because it costs 90 MiB and a second of start (measured with 2.0.1 on Node 24).
import { readFile } from "node:fs/promises";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent, type RequestOptions } from "node:https";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";

/** What node:http(s) needs to reach the API server as ourselves. */
export interface KubeEndpoint extends Disposable {
  /** Base address; may have a path, as behind Rancher. */
  readonly server: URL;
  /** Options for one request: agent, TLS and authorization header. Cheap enough to ask before every request. */
  requestOptions(): Promise<RequestOptions>;
}

export type KubeEndpointSource =
  | { readonly from: "kubeconfig"; readonly path: string; readonly context?: string }
  | {
      readonly from: "pod";
      readonly host: string;
      readonly port: string;
      /** Other than /var/run/secrets/kubernetes.io/serviceaccount. */
      readonly directory?: string;
    }
  | { readonly from: "values"; readonly server: string; readonly token?: string; readonly ca?: string };

const SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";
/** client-go re-reads the token this often; kubelet replaces it at 80 % of its life, which is at least 10 minutes. */
const FILES_KEPT_MILLIS: Millis = 60_000;
/** TCP keep-alive probes start after this much silence, so that a vanished peer is noticed below the HTTP layer. */
const TCP_KEEP_ALIVE_MILLIS: Millis = 15_000;

const AGENT_OPTIONS = { keepAlive: true, keepAliveMsecs: TCP_KEEP_ALIVE_MILLIS };

/** Chooses the source as kubectl does: KUBECONFIG when set, else the pod's own service account. */
export function endpointSourceOf(environment: Readonly<Record<string, string | undefined>>): KubeEndpointSource {
  const kubeconfig = environment["KUBECONFIG"];
  if (kubeconfig !== undefined && kubeconfig !== "") return { from: "kubeconfig", path: kubeconfig };
  const host = environment["KUBERNETES_SERVICE_HOST"];
  if (host === undefined || host === "")
    throw new CofferError("invalid_request", "no Kubernetes cluster: set KUBECONFIG or run in a pod");
  return { from: "pod", host, port: environment["KUBERNETES_SERVICE_PORT"] ?? "443" };
}

/** Opens an endpoint. Throws `invalid_request` when the kubeconfig cannot be used. */
export async function openKubeEndpoint(source: KubeEndpointSource, clock: Clock): Promise<KubeEndpoint> {
  if (source.from === "pod") return podEndpoint(source, clock);
  if (source.from === "kubeconfig") return kubeconfigEndpoint(source.path, source.context);
  return valuesEndpoint(source);
}

function agentsFor(server: URL): HttpAgent {
  return server.protocol === "http:" ? new HttpAgent(AGENT_OPTIONS) : new HttpsAgent(AGENT_OPTIONS);
}

function bearer(token: string | undefined): Record<string, string> {
  return token === undefined || token === "" ? {} : { authorization: `Bearer ${token}` };
}

function valuesEndpoint(source: { server: string; token?: string; ca?: string }): KubeEndpoint {
  const server = new URL(source.server);
  const agent = agentsFor(server);
  const options = { agent, headers: bearer(source.token), ...(source.ca === undefined ? {} : { ca: source.ca }) };
  return { server, requestOptions: async () => options, [Symbol.dispose]: () => agent.destroy() };
}

function podEndpoint(source: { host: string; port: string; directory?: string }, clock: Clock): KubeEndpoint {
  const server = new URL(`https://${isIPv6(source.host) ? `[${source.host}]` : source.host}:${source.port}`);
  const agent = agentsFor(server);
  const directory = source.directory ?? SERVICE_ACCOUNT_DIRECTORY;
  let read: { at: Millis; options: Promise<RequestOptions> } | undefined;
  const load = async (): Promise<RequestOptions> => {
    const [token, ca] = await Promise.all(
      ["token", "ca.crt"].map((name) => readFile(join(directory, name), { encoding: "utf8" })),
    );
    return { agent, ca: ca ?? "", headers: bearer(token?.trim()) };
  };
  return {
    server,
    requestOptions() {
      if (read !== undefined && clock.now() - read.at < FILES_KEPT_MILLIS) return read.options;
      const options = load();
      // A failed read is not kept: the next request tries again.
      options.catch(() => {
        read = undefined;
      });
      read = { at: clock.now(), options };
      return options;
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

async function kubeconfigEndpoint(path: string, context: string | undefined): Promise<KubeEndpoint> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  try {
    config.loadFromFile(path);
    if (context !== undefined) config.setCurrentContext(context);
  } catch (error) {
    throw new CofferError("invalid_request", `the kubeconfig ${path} cannot be read`, { cause: error });
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null)
    throw new CofferError("invalid_request", `the kubeconfig ${path} has no cluster for its current context`);
  const server = new URL(cluster.server);
  const agent = agentsFor(server);
  return {
    server,
    async requestOptions() {
      const options: RequestOptions = { headers: {} };
      await config.applyToHTTPSOptions(options);
      // The library's own agent opens a connection for every request; it is needed only where there is a proxy.
      return cluster.proxyUrl === undefined ? { ...options, agent } : options;
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}
