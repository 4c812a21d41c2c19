// The injector's configuration: environment variables, which the chart sets.
import { hostname } from "node:os";
import { CofferError } from "#common/errors.ts";
import type { LogLevel } from "#common/log.ts";
import type { InjectorSettings } from "./settings.ts";

export interface Address {
  /** Empty: every interface. */
  readonly host: string;
  readonly port: number;
}

export interface InjectorConfig {
  readonly namespace: string;
  readonly image: string;
  readonly imagePullPolicy: InjectorSettings["imagePullPolicy"];
  /** "auto": decided by the API server's version. */
  readonly fileKeyRef: boolean | "auto";
  /** Name of the MutatingWebhookConfiguration. */
  readonly webhookName: string;
  /** Name of the Service in front of the injector. */
  readonly webhookService: string;
  /** Name of the Secret that holds the CA of the webhook's certificates. */
  readonly caSecret: string;
  /** What becomes of pods that ask for secrets and have no agent. */
  readonly missed: "none" | "report" | "evict";
  /** Name of the Lease of the replica that looks for them. */
  readonly leaseName: string;
  readonly podName: string;
  readonly vaultAnnotations: boolean;
  /** Whose pods never come to the webhook. */
  readonly excludedNamespaces: readonly string[];
  readonly listen: Address;
  readonly health: Address;
  readonly logLevel: LogLevel;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Kubernetes 1.35 has fileKeyRef on by default. */
const FILE_KEY_REF_SINCE_MINOR = 35;

/** Reads the environment. Throws `invalid_request` naming the variable. */
export function readInjectorConfig(env: Environment): InjectorConfig {
  return {
    namespace: required(env, "COFFER_POD_NAMESPACE"),
    image: required(env, "COFFER_IMAGE"),
    imagePullPolicy: word(env, "COFFER_IMAGE_PULL_POLICY", ["IfNotPresent", "Always", "Never"]),
    fileKeyRef: { auto: "auto" as const, true: true, false: false }[
      word(env, "COFFER_FILE_KEY_REF", ["auto", "true", "false"])
    ],
    webhookName: required(env, "COFFER_WEBHOOK_NAME"),
    webhookService: required(env, "COFFER_WEBHOOK_SERVICE"),
    caSecret: required(env, "COFFER_CA_SECRET"),
    missed: word(env, "COFFER_MISSED_PODS", ["none", "report", "evict"]),
    leaseName: env["COFFER_LEASE_NAME"] || "coffer-injector",
    podName: env["COFFER_POD_NAME"] || hostname(),
    vaultAnnotations: word(env, "COFFER_VAULT_ANNOTATIONS", ["false", "true"]) === "true",
    excludedNamespaces: (env["COFFER_EXCLUDED_NAMESPACES"] ?? "").split(",").filter((name) => name !== ""),
    listen: address(env, "COFFER_LISTEN_ADDRESS", 9443),
    health: address(env, "COFFER_HEALTH_ADDRESS", 8081),
    logLevel: word(env, "COFFER_LOG_LEVEL", ["info", "debug", "warn", "error"]),
  };
}

/** Whether a cluster of this version ("35", "34+") sets variables from files without being told to. */
export function hasFileKeyRef(version: { readonly major: string; readonly minor: string }): boolean {
  const major = Number.parseInt(version.major, 10);
  return major > 1 || (major === 1 && Number.parseInt(version.minor, 10) >= FILE_KEY_REF_SINCE_MINOR);
}

/** Whether kubelets of this version take quotes in files of variables as a part of the value. */
export function readsPlainVariables(version: { readonly major: string; readonly minor: string }): boolean {
  return !hasFileKeyRef(version);
}

function required(env: Environment, name: string): string {
  const value = env[name];
  if (value === undefined || value === "") {
    throw new CofferError("invalid_request", `${name} is not set; the chart sets it`);
  }
  return value;
}

/** One of the words; the first when it is not set. */
function word<const W extends readonly [string, ...string[]]>(env: Environment, name: string, words: W): W[number] {
  const value = env[name] || words[0];
  const found = words.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new CofferError("invalid_request", `${name} must be one of ${words.join(", ")}`);
}

/** ":9443" or "127.0.0.1:9443". */
function address(env: Environment, name: string, port: number): Address {
  const match = /^(?<host>.*):(?<port>[0-9]{1,5})$/.exec(env[name] || `:${port}`);
  const given = Number(match?.groups?.["port"] ?? Number.NaN);
  if (given <= 65_535) return { host: match?.groups?.["host"] ?? "", port: given };
  throw new CofferError("invalid_request", `${name} must be written as HOST:PORT or :PORT`);
}
