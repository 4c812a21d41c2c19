// The operator's configuration: environment variables, which the chart sets, and flags for running it outside of a pod.
import { CofferError } from "#common/errors.ts";
import type { LogLevel } from "#common/log.ts";

export interface OperatorSettings {
  /** Where the operator runs: its Lease is there, and its ServiceAccount. */
  readonly namespace: string;
  readonly podName: string;
  /** Name of the ServiceAccount that logs in to servers. */
  readonly serviceAccount: string;
  /** Image of servers whose spec names none. */
  readonly image: string;
  /** Image of etcd members whose spec names none; "" when the chart names none either. */
  readonly etcdImage: string;
  readonly imagePullPolicy: "IfNotPresent" | "Always" | "Never";
  /** Names of Secrets for pulling; they are in the operator's own namespace only. */
  readonly imagePullSecrets: readonly string[];
  /** Where VaultClusters may live; "*" alone is everywhere. */
  readonly clusterNamespaces: readonly string[];
  /** Where SecretBindings may keep Kubernetes Secrets; "*" is everywhere, none is nowhere. */
  readonly secretNamespaces: readonly string[];
  readonly leaseName: string;
  readonly healthHost: string;
  readonly healthPort: number;
  readonly logLevel: LogLevel;
  readonly logFormat: "json" | "text";
  readonly kubeconfig: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

export const USAGE = `Usage: coffer operator [-kubeconfig=FILE]

Runs the Kubernetes operator. In a pod the chart configures it by COFFER_* variables; outside of one, name a kubeconfig.
`;

/** Whether VaultClusters of this namespace are the operator's business. */
export function managesNamespace(settings: Pick<OperatorSettings, "clusterNamespaces">, namespace: string): boolean {
  return settings.clusterNamespaces.includes("*") || settings.clusterNamespaces.includes(namespace);
}

/** Whether SecretBindings of this namespace may keep Kubernetes Secrets. */
export function keepsSecretsIn(settings: Pick<OperatorSettings, "secretNamespaces">, namespace: string): boolean {
  return settings.secretNamespaces.includes("*") || settings.secretNamespaces.includes(namespace);
}

/** Reads arguments and environment. Throws `invalid_request` naming the flag or variable. */
export function readOperatorSettings(argv: readonly string[], env: Environment): OperatorSettings {
  const namespace = required(env, "COFFER_POD_NAMESPACE");
  const namespaces = words(env["COFFER_CLUSTER_NAMESPACES"]);
  return {
    namespace,
    podName: required(env, "COFFER_POD_NAME"),
    serviceAccount: required(env, "COFFER_SERVICE_ACCOUNT"),
    image: required(env, "COFFER_IMAGE"),
    etcdImage: env["COFFER_ETCD_IMAGE"] ?? "",
    imagePullPolicy: word(env, "COFFER_IMAGE_PULL_POLICY", ["IfNotPresent", "Always", "Never"]),
    imagePullSecrets: words(env["COFFER_IMAGE_PULL_SECRETS"]),
    clusterNamespaces: namespaces.length === 0 ? [namespace] : namespaces,
    secretNamespaces: words(env["COFFER_SECRET_NAMESPACES"]),
    leaseName: env["COFFER_LEASE_NAME"] || "coffer-operator",
    ...healthAddress(env["COFFER_HEALTH_ADDRESS"] || ":8081"),
    logLevel: word(env, "COFFER_LOG_LEVEL", ["info", "debug", "warn", "error"]),
    logFormat: word(env, "COFFER_LOG_FORMAT", ["json", "text"]),
    kubeconfig: kubeconfigOf(argv),
  };
}

function kubeconfigOf(argv: readonly string[]): string | undefined {
  const [first, ...rest] = argv;
  if (first === undefined) return undefined;
  const inline = /^--?kubeconfig=(.+)$/.exec(first)?.[1];
  if (inline !== undefined && rest.length === 0) return inline;
  if (/^--?kubeconfig$/.test(first) && rest.length === 1) return rest[0];
  throw new CofferError("invalid_request", `the operator knows no argument ${first}; it takes -kubeconfig=FILE only`);
}

function required(env: Environment, name: string): string {
  const value = env[name];
  if (value === undefined || value === "")
    throw new CofferError("invalid_request", `${name} is not set; the chart sets it`);
  return value;
}

function words(list: string | undefined): readonly string[] {
  return (list ?? "").split(",").flatMap((word) => (word.trim() === "" ? [] : [word.trim()]));
}

/** One of the words; the first when it is not set. */
function word<const W extends readonly [string, ...string[]]>(env: Environment, name: string, known: W): W[number] {
  const value = env[name] || known[0];
  const found = known.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new CofferError("invalid_request", `${name} must be one of ${known.join(", ")}`);
}

/** ":8081" or "127.0.0.1:8081". */
function healthAddress(text: string): { healthHost: string; healthPort: number } {
  const match = /^(?<host>.*):(?<port>[0-9]{1,5})$/.exec(text);
  const port = Number(match?.groups?.["port"] ?? Number.NaN);
  if (port <= 65_535) return { healthHost: match?.groups?.["host"] ?? "", healthPort: port };
  throw new CofferError("invalid_request", "COFFER_HEALTH_ADDRESS must be written as HOST:PORT or :PORT");
}
